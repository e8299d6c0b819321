use proptest::prelude::*;

use super::{MAX_LENGTH, Relations, render};
use crate::request::number::Page;
use crate::request::query::{GistQuery, validate};
use crate::request::route::{Endpoint, Method, Route, route};

const NONE: Relations = Relations { next: false, prev: false };
const NEXT: Relations = Relations { next: true, prev: false };
const PREV: Relations = Relations { next: false, prev: true };
const BOTH: Relations = Relations { next: true, prev: true };

#[test]
fn reads_githubs_header() {
    let github = "<https://api.github.com/user/583231/gists?page=1&per_page=2>; rel=\"prev\", \
                  <https://api.github.com/user/583231/gists?page=3&per_page=2>; rel=\"next\", \
                  <https://api.github.com/user/583231/gists?page=4&per_page=2>; rel=\"last\"";
    assert_eq!(Relations::parse(github), BOTH);
}

#[test]
fn reads_what_rfc_8288_allows() {
    for (header, expected) in [
        ("", NONE),
        ("<a>; rel=next", NEXT),
        ("<a>;rel=\"next\"", NEXT),
        ("<a> ; REL = \"NEXT\"", NEXT),
        ("<a>; rel=\"prev next\"", BOTH),
        ("<a>; rel=previous", PREV),
        ("<a>; title=\"x, <b>; rel=next\"; rel=prev", PREV),
        ("<a>; title=\"\\\"; rel=next\"; rel=prev", PREV),
        ("<a,b;c>; rel=prev", PREV),
        ("<a>; rel=first; rel=next", NONE),
        ("<a>; rel=last, <b>; rel=next", NEXT),
        (",, <a>; rel=next ,,<b>; rel=prev,", BOTH),
        ("<a>; crossorigin; rel=next", NEXT),
        ("<a>; rel=nextish", NONE),
        ("<>; rel=next", NEXT),
        ("<a>; rel*=next", NONE),
        ("<a?rel=next>; rel=first", NONE),
    ] {
        assert_eq!(Relations::parse(header), expected, "{header}");
    }
}

#[test]
fn what_is_malformed_ends_the_reading() {
    for (header, expected) in [
        ("rel=next", NONE),
        ("<a; rel=next", NONE),
        ("<a>; rel=\"next", NONE),
        ("<a>; rel=prev, garbage, <b>; rel=next", PREV),
        ("<a> rel=next", NONE),
    ] {
        assert_eq!(Relations::parse(header), expected, "{header}");
    }
    let late = format!("<{}>; rel=prev, <b>; rel=next", "é".repeat(MAX_LENGTH));
    assert_eq!(Relations::parse(&late), NONE);
}

fn rendered(target: &str, relations: Relations) -> Option<String> {
    let routed = route(Method::Get, target);
    let Ok(Route::Gists { name }) = routed.route else { panic!("{target}") };
    let (username, query) = validate(&name, routed.query).unwrap();
    render(routed.endpoint, username.as_asked(), routed.query, query, relations)
}

#[test]
fn keeps_what_was_asked() {
    for (target, relations, expected) in [
        ("/octocat", NONE, None),
        ("/octocat", NEXT, Some("</octocat?page=2>; rel=\"next\"")),
        ("/OctoCat?per_page=5&x=%20y", NEXT, Some("</OctoCat?per_page=5&x=%20y&page=2>; rel=\"next\"")),
        (
            "/users/a/gists?page=2&per_page=5",
            BOTH,
            Some(
                "</users/a/gists?page=3&per_page=5>; rel=\"next\", </users/a/gists?page=1&per_page=5>; rel=\"prev\", \
                 </users/a/gists?page=1&per_page=5>; rel=\"first\"",
            ),
        ),
        ("/a?page=9&page=1&use_cache=no", NEXT, Some("</a?page=2&use_cache=no>; rel=\"next\"")),
        ("/a?p%61ge=1&b", NEXT, Some("</a?page=2&b=>; rel=\"next\"")),
        ("/a?x=%3E&y=<>\"", NEXT, Some("</a?x=%3E&y=%3C%3E%22&page=2>; rel=\"next\"")),
        ("/a[bot]", NEXT, Some("</a%5Bbot%5D?page=2>; rel=\"next\"")),
        ("/a?page=100", NEXT, Some("</a?page=1>; rel=\"first\"")),
        ("/a?page=3", NONE, Some("</a?page=1>; rel=\"first\"")),
    ] {
        assert_eq!(rendered(target, relations).as_deref(), expected, "{target}");
    }
}

#[test]
fn a_long_query_is_not_repeated() {
    let target = format!("/a?per_page=7&x={}", "y".repeat(5000));
    assert_eq!(rendered(&target, NEXT).unwrap(), "</a?page=2&per_page=7&use_cache=true>; rel=\"next\"");
}

proptest! {
    #[test]
    fn any_header_is_read(header in "(<|>|;|,|=|\"|\\\\|rel|next|prev| |\\PC){0,40}") {
        let _ = Relations::parse(&header);
    }

    /// What `link` says of relations is what `parse` finds in it, whatever stands around them.
    #[test]
    fn finds_what_was_written(
        values in proptest::collection::vec(("[a-z0-9/?&,;=]{0,12}", "[a-z]{0,3}(next|prev|first)?", any::<bool>(), "[a-z,;<> ]{0,8}"), 0..6),
    ) {
        let header = values.iter().map(|(target, relation, quoted, title)| {
            let relation = if *quoted || relation.is_empty() { format!("\"{relation}\"") } else { relation.clone() };
            format!("<{target}>; title=\"{title}\"; rel={relation}")
        });
        let header = header.collect::<Vec<_>>().join(", ");
        let has = |name: &str| values.iter().any(|(_, relation, ..)| relation == name);
        prop_assert_eq!(Relations::parse(&header), Relations { next: has("next"), prev: has("prev") });
    }

    /// Our links can be followed: they route to the same user, ask for the page that they say and for nothing else anew.
    #[test]
    fn our_links_lead_where_they_say(
        page in 1_u8..=100, per_page in 1_u8..=100, use_cache: bool, long: bool,
        noise in "[a-z%&=+;<>\"# é]{0,20}", next: bool, prev: bool,
    ) {
        let path = if long { "/users/Octo-Cat/gists" } else { "/Octo-Cat" };
        let endpoint = if long { Endpoint::UserGists } else { Endpoint::User };
        let raw = format!("{noise}&page={page}&per_page={per_page}&use_cache={use_cache}");
        let (_, asked) = validate("Octo-Cat", &raw).unwrap();
        let Some(header) = render(endpoint, "Octo-Cat", &raw, asked, Relations { next, prev }) else {
            prop_assert!(page == 1 && !next);
            return Ok(());
        };
        prop_assert!(header.bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
        prop_assert_eq!(Relations::parse(&header), Relations { next: next && page < 100, prev: prev && page > 1 });
        for link in header.split(", ") {
            let (target, relation) = link.strip_prefix('<').and_then(|link| link.split_once(">; rel=")).unwrap();
            let expected = match relation {
                "\"next\"" => page + 1,
                "\"prev\"" => page - 1,
                "\"first\"" => 1,
                other => panic!("{other}"),
            };
            prop_assert!(target.starts_with(path), "{}", target);
            let followed = route(Method::Get, target);
            prop_assert_eq!(followed.endpoint, endpoint);
            let (_, query) = validate("Octo-Cat", followed.query).unwrap();
            prop_assert_eq!(query, GistQuery { page: Page::new(expected.into()).unwrap(), ..asked });
        }
    }
}
