//! Writing `Link`: references to the same route, which a client can follow.

use proptest::prelude::*;

use super::render;
use crate::github::link::Relations;
use crate::request::number::Page;
use crate::request::query::{GistQuery, validate};
use crate::request::route::{Endpoint, Method, Route, route};

const NONE: Relations = Relations { next: false, prev: false };
const NEXT: Relations = Relations { next: true, prev: false };
const BOTH: Relations = Relations { next: true, prev: true };

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
    /// Our links can be followed: they lead to the same user, to the page of their relation, with the same parameters.
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
