//! Reading `Link`: what RFC 8288 allows, and what is malformed.

use proptest::prelude::*;

use super::{MAX_LENGTH, Relations};

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

proptest! {
    #[test]
    fn any_header_is_read(header in "(<|>|;|,|=|\"|\\\\|rel|next|prev| |\\PC){0,40}") {
        let _ = Relations::parse(&header);
    }

    /// The relations that are written into a header are the ones that are parsed, whatever is around them.
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
}
