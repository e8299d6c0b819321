//! Preconditions: those of clients against stored responses, and those of the cache against the component (RFC 9111, 4.3).

use std::time::SystemTime;

use http::{HeaderMap, HeaderValue, header};

use crate::{date, directives::members};

/// Whether a client that sends these preconditions already has the stored response (RFC 9111, 4.3.2). `stored` is when the
/// response was generated.
#[must_use]
pub fn has_current(request: &HeaderMap, response: &HeaderMap, generated: SystemTime) -> bool {
    let mut tags = request.get_all(header::IF_NONE_MATCH).iter().peekable();
    if tags.peek().is_some() {
        let own = response.get(header::ETAG).map(|tag| opaque(tag.as_bytes()));
        return tags
            .flat_map(|line| members(line.as_bytes()))
            .any(|tag| tag == b"*" || own.is_some_and(|own| opaque(tag) == own));
    }
    let Some(since) = date::field(request, header::IF_MODIFIED_SINCE) else { return false };
    date::field(response, header::LAST_MODIFIED).unwrap_or(generated) <= since
}

/// Whether the client's `If-Range` lets it have a part of the stored response (RFC 9110, 13.1.5). A client without one may
/// have a part.
#[must_use]
pub fn may_have_part(request: &HeaderMap, response: &HeaderMap) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else { return true };
    let condition = condition.as_bytes().trim_ascii();
    match date::parse(condition) {
        Some(date) => date::field(response, header::LAST_MODIFIED) == Some(date),
        // The comparison is strong: a weak tag never matches.
        None => {
            condition.starts_with(b"\"") && response.get(header::ETAG).is_some_and(|tag| tag == condition)
        }
    }
}

/// Whether a response has something to validate it by.
#[must_use]
pub fn has_validator(response: &HeaderMap) -> bool {
    response.contains_key(header::ETAG) || response.contains_key(header::LAST_MODIFIED)
}

/// Replaces a request's preconditions by those that validate the stored response with these headers. Removes `Range`, because a
/// part could not be stored.
pub fn validate(request: &mut HeaderMap, response: &HeaderMap) {
    for name in [header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE, header::RANGE, header::IF_RANGE] {
        request.remove(name);
    }
    if let Some(tag) = response.get(header::ETAG) {
        request.insert(header::IF_NONE_MATCH, tag.clone());
    }
    if let Some(modified) = response.get(header::LAST_MODIFIED) {
        request.insert(header::IF_MODIFIED_SINCE, modified.clone());
    }
}

/// Whether a request has preconditions that only the component can evaluate (RFC 9111, 4.3.2).
#[must_use]
pub fn is_for_origin(request: &HeaderMap) -> bool {
    request.contains_key(header::IF_MATCH) || request.contains_key(header::IF_UNMODIFIED_SINCE)
}

/// Whether a response to `HEAD` describes the stored response (RFC 9111, 4.3.5). `length` is the stored body's.
#[must_use]
pub fn describes(head: &HeaderMap, stored: &HeaderMap, length: usize) -> bool {
    let same = |name| head.get(&name).is_none_or(|value: &HeaderValue| stored.get(&name) == Some(value));
    let length_is =
        |value: &HeaderValue| value.to_str().ok().and_then(|text| text.parse().ok()) == Some(length);
    same(header::ETAG)
        && same(header::LAST_MODIFIED)
        && head.get(header::CONTENT_LENGTH).is_none_or(length_is)
}

/// Whether a 304 can be about the stored response: it names no other entity tag (RFC 9111, 4.3.4).
#[must_use]
pub fn is_about(not_modified: &HeaderMap, stored: &HeaderMap) -> bool {
    let tag = |headers: &HeaderMap| headers.get(header::ETAG).map(|tag| opaque(tag.as_bytes()).to_vec());
    tag(not_modified).is_none_or(|tag_now| tag(stored) == Some(tag_now))
}

/// An entity tag without its mark of weakness, for the weak comparison (RFC 9110, 8.8.3.2).
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::tests::header_map;

    const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";

    #[test]
    fn tags_go_before_dates_and_are_compared_weakly() {
        let stored = header_map(&[("etag", "\"a\""), ("last-modified", DATE)]);
        let current = |lines: &[_]| has_current(&header_map(lines), &stored, UNIX_EPOCH);
        for yes in [
            &[("if-none-match", "\"a\"")][..],
            &[("if-none-match", "\"b\", W/\"a\", \"c\"")],
            &[("if-none-match", "\"b\""), ("if-none-match", "\"a\"")],
            &[("if-none-match", "*")],
            &[("if-none-match", "\"a\""), ("if-modified-since", EARLIER)],
            &[("if-modified-since", DATE)],
            &[("if-modified-since", LATER)],
            &[("if-modified-since", "Sunday, 06-Nov-94 08:49:37 GMT")],
        ] {
            assert!(current(yes), "{yes:?}");
        }
        for no in [
            &[][..],
            &[("if-none-match", "\"b\"")],
            &[("if-none-match", "\"a,b\"")],
            &[("if-none-match", "\"b\""), ("if-modified-since", LATER)],
            &[("if-modified-since", EARLIER)],
            &[("if-modified-since", "yesterday")],
        ] {
            assert!(!current(no), "{no:?}");
        }
    }

    #[test]
    fn without_a_modification_date_the_responses_own_counts() {
        let generated = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let current =
            |since| has_current(&header_map(&[("if-modified-since", since)]), &header_map(&[]), generated);
        assert!(current(DATE) && current(LATER) && !current(EARLIER));
    }

    #[test]
    fn a_part_needs_a_strong_match() {
        let stored = header_map(&[("etag", "\"a\""), ("last-modified", DATE)]);
        for (condition, may) in [
            ("\"a\"", true),
            ("\"b\"", false),
            ("W/\"a\"", false),
            (DATE, true),
            (LATER, false),
            ("a", false),
        ] {
            assert_eq!(may_have_part(&header_map(&[("if-range", condition)]), &stored), may, "{condition}");
        }
        assert!(may_have_part(&header_map(&[]), &stored));
        assert!(!may_have_part(&header_map(&[("if-range", "W/\"a\"")]), &header_map(&[("etag", "W/\"a\"")])));
    }

    #[test]
    fn our_preconditions_replace_the_clients() {
        let mut request = header_map(&[
            ("if-none-match", "\"b\""),
            ("range", "bytes=0-1"),
            ("if-range", "\"b\""),
            ("a", "1"),
        ]);
        validate(&mut request, &header_map(&[("etag", "W/\"a\""), ("last-modified", DATE)]));
        let expected = header_map(&[("if-none-match", "W/\"a\""), ("if-modified-since", DATE), ("a", "1")]);
        assert_eq!(request, expected);
    }

    #[test]
    fn a_head_that_differs_speaks_of_another_response() {
        let stored = header_map(&[("etag", "\"a\"")]);
        for (head, same) in [
            (&[][..], true),
            (&[("etag", "\"a\""), ("content-length", "5")], true),
            (&[("etag", "\"b\"")], false),
            (&[("last-modified", DATE)], false),
            (&[("content-length", "6")], false),
        ] {
            assert_eq!(describes(&header_map(head), &stored, 5), same, "{head:?}");
        }
    }
}
