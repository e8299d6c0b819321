//! The table of answers, row by row, and answers that no table foresees.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    Answer, MAX_WAIT, Quota, StoredEntry, UpstreamFailure, classify, guessed_wait, quota, relations,
    remaining, validator,
};
use crate::github::link::Relations;
use crate::ports::{FetchError, FetchResponse};

/// 6 November 1994, 08:49:37.
const NOW: Duration = Duration::from_secs(784_111_777);

fn fetched(status: u16, headers: &[(&str, &str)], body: &str) -> FetchResponse {
    let headers =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    FetchResponse { status, headers, body: body.as_bytes().to_vec() }
}

fn read(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    classify(&fetched(status, headers, body), NOW)
}

const fn limited(wait: Option<u32>) -> Answer {
    Answer::Failed(UpstreamFailure::RateLimited { wait })
}

#[test]
fn the_table_row_by_row() {
    use Answer::Failed;
    const JSON: &[(&str, &str)] = &[("content-type", "application/json; charset=utf-8")];
    for (answer, expected) in [
        (read(200, JSON, "[]"), Answer::Gists),
        (read(304, &[], ""), Answer::NotModified),
        (read(404, JSON, "{}"), Failed(UpstreamFailure::NoSuchUser)),
        (read(429, JSON, ""), limited(None)),
        (read(401, JSON, "{}"), Failed(UpstreamFailure::Unauthorized)),
        (read(403, JSON, "{}"), Failed(UpstreamFailure::Status(403))),
        (read(410, JSON, "{}"), Failed(UpstreamFailure::VersionRetired)),
        (read(451, JSON, "{}"), Failed(UpstreamFailure::LegalReasons)),
        (read(422, JSON, "{}"), Failed(UpstreamFailure::Unprocessable)),
        (read(500, JSON, "{}"), Failed(UpstreamFailure::Status(500))),
        (read(503, &[("retry-after", "5")], ""), Failed(UpstreamFailure::Status(503))),
        (read(301, &[("location", "https://evil.example/")], ""), Failed(UpstreamFailure::Status(301))),
        (read(204, &[], ""), Failed(UpstreamFailure::Status(204))),
        (read(418, &[], ""), Failed(UpstreamFailure::Status(418))),
    ] {
        assert_eq!(answer, expected);
    }
}

#[test]
fn gists_are_json() {
    for (value, json) in [
        ("application/json", true),
        ("Application/JSON; charset=utf-8", true),
        ("application/vnd.github+json", true),
        ("text/html; charset=utf-8", false),
        ("application/jsonp", false),
        ("text/json", false),
        ("", false),
    ] {
        let answer = read(200, &[("Content-Type", value)], "[]");
        assert_eq!(answer == Answer::Gists, json, "{value}");
    }
    assert_eq!(read(200, &[], "[]"), Answer::Failed(UpstreamFailure::Invalid));
}

#[test]
fn a_403_may_be_a_rate_limit() {
    const SECONDARY: &str =
        r#"{"message":"You have exceeded a secondary rate limit. Please wait …","documentation_url":"x"}"#;
    const PRIMARY: &str = r#"{"message":"API rate limit exceeded for 192.0.2.1.","documentation_url":"x"}"#;
    const ABUSE: &str =
        r#"{"documentation_url":"x","message":"You have triggered an abuse detection mechanism."}"#;
    for (headers, body, expected) in [
        (&[("retry-after", "7")][..], "", limited(Some(7))),
        (&[("x-ratelimit-remaining", "0")], "{}", limited(None)),
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111877")], PRIMARY, limited(Some(101))),
        (&[("X-RateLimit-Remaining", "4999")], SECONDARY, limited(None)),
        (&[], PRIMARY, limited(None)),
        (&[], ABUSE, limited(None)),
        (
            &[("x-ratelimit-remaining", "12")],
            r#"{"message":"Resource not accessible"}"#,
            Answer::Failed(UpstreamFailure::Status(403)),
        ),
        (
            &[],
            r#"{"message":"Forbidden","documentation_url":"https://docs.github.com/rate limit"}"#,
            Answer::Failed(UpstreamFailure::Status(403)),
        ),
        (&[], "<html>You have exceeded a Rate Limit", limited(None)),
        (&[], "<html>Forbidden", Answer::Failed(UpstreamFailure::Status(403))),
    ] {
        assert_eq!(read(403, headers, body), expected, "{headers:?} {body}");
    }
}

#[test]
fn the_wait_is_githubs_word_within_an_hour() {
    const NONE_LEFT: (&str, &str) = ("x-ratelimit-remaining", "0");
    const RESET: (&str, &str) = ("x-ratelimit-reset", "784112377");
    for (headers, wait) in [
        (&[("retry-after", "30"), RESET, NONE_LEFT][..], Some(30)),
        (&[("retry-after", "0")], Some(1)),
        (&[("retry-after", "3601")], Some(MAX_WAIT)),
        (&[("retry-after", "99999999999999999999999999")], Some(MAX_WAIT)),
        (&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"), RESET, NONE_LEFT], Some(61)),
        (&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), RESET, NONE_LEFT], Some(1)),
        (&[("retry-after", "soon"), RESET, NONE_LEFT], Some(601)),
        (&[("retry-after", "-5"), RESET, NONE_LEFT], Some(601)),
        (&[RESET, NONE_LEFT], Some(601)),
        (&[NONE_LEFT, ("x-ratelimit-reset", "784111777")], Some(1)),
        (&[NONE_LEFT, ("x-ratelimit-reset", "784111776")], None),
        (&[NONE_LEFT, ("x-ratelimit-reset", "1")], None),
        (&[NONE_LEFT, ("x-ratelimit-reset", "never")], None),
        (&[NONE_LEFT, ("x-ratelimit-reset", "99999999999999999999999999")], Some(MAX_WAIT)),
        (&[], None),
    ] {
        assert_eq!(read(429, headers, ""), limited(wait), "{headers:?}");
    }
}

#[test]
fn a_secondary_limit_does_not_wait_for_the_reset_of_the_primary_limit() {
    const SECONDARY: &str = r#"{"message":"You have exceeded a secondary rate limit. Please wait."}"#;
    for status in [403, 429] {
        // 3,500 s and 3 s ahead.
        for reset in ["784115277", "784111780"] {
            for left in ["1", "4211"] {
                let headers = [("x-ratelimit-remaining", left), ("x-ratelimit-reset", reset)];
                assert_eq!(read(status, &headers, SECONDARY), limited(None), "{status} {headers:?}");
            }
            let headers =
                [("retry-after", "7"), ("x-ratelimit-remaining", "9"), ("x-ratelimit-reset", reset)];
            assert_eq!(read(status, &headers, SECONDARY), limited(Some(7)), "{status} {headers:?}");
        }
        let unknown = [("x-ratelimit-reset", "784115277")];
        assert_eq!(read(status, &unknown, SECONDARY), limited(None), "{status}");
    }
}

#[test]
fn a_time_that_github_names_is_measured_by_githubs_clock() {
    const LEFT: (&str, &str) = ("x-ratelimit-remaining", "0");
    // Ten minutes after our clock's time: 08:59:37.
    const RESET: (&str, &str) = ("x-ratelimit-reset", "784112377");
    const UNTIL: (&str, &str) = ("retry-after", "Sun, 06 Nov 1994 08:59:37 GMT");
    for (date, wait) in [
        ("Sun, 06 Nov 1994 08:49:37 GMT", 601),
        // Our clock is five minutes slow, and five minutes fast.
        ("Sun, 06 Nov 1994 08:54:37 GMT", 301),
        ("Sun, 06 Nov 1994 08:44:37 GMT", 901),
        ("Sun, 06 Nov 1994 08:59:37 GMT", 1),
        // Dates that say nothing about the present.
        ("Sat, 05 Nov 1994 08:49:36 GMT", 601),
        ("Mon, 07 Nov 1994 08:49:38 GMT", 601),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 601),
        ("yesterday", 601),
    ] {
        for named in [RESET, UNTIL] {
            let answer = read(429, &[LEFT, named, ("Date", date)], "");
            assert_eq!(answer, limited(Some(wait)), "{named:?} {date}");
        }
        let answer = read(429, &[("retry-after", "30"), ("date", date)], "");
        assert_eq!(answer, limited(Some(30)), "a number of seconds depends on no clock");
    }
    let passed = read(429, &[LEFT, RESET, ("date", "Sun, 06 Nov 1994 08:59:38 GMT")], "");
    assert_eq!(passed, limited(None));
}

#[test]
fn a_quota_is_stated_by_answers_of_any_status() {
    const LEFT: (&str, &str) = ("x-ratelimit-remaining", "12");
    for (headers, expected) in [
        (&[LEFT, ("x-ratelimit-reset", "784112377")][..], Some((12, 601))),
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784112377")], Some((0, 601))),
        (
            &[LEFT, ("x-ratelimit-reset", "784112377"), ("date", "Sun, 06 Nov 1994 08:54:37 GMT")],
            Some((12, 301)),
        ),
        (&[LEFT, ("x-ratelimit-reset", "99999999999999999999999999")], Some((12, MAX_WAIT))),
        (&[LEFT, ("x-ratelimit-reset", "784111776")], None),
        (&[LEFT], None),
        (&[("x-ratelimit-reset", "784112377")], None),
    ] {
        for status in [200, 304, 404, 500] {
            for (limit, stated) in [(60, "60"), (0, ""), (0, "-1")] {
                let mut headers = headers.to_vec();
                headers.push(("x-ratelimit-limit", stated));
                let expected = expected.map(|(remaining, renewed_in)| Quota { limit, remaining, renewed_in });
                assert_eq!(quota(&fetched(status, &headers, ""), NOW), expected, "{status} {headers:?}");
            }
        }
    }
}

#[test]
fn a_guess_doubles_up_to_a_quarter_of_an_hour() {
    let waits: Vec<_> = (0..8).map(guessed_wait).collect();
    assert_eq!(waits, [60, 60, 120, 240, 480, 900, 900, 900]);
    assert_eq!(guessed_wait(u32::MAX), 900);
}

#[test]
fn what_happens_to_a_stored_entry() {
    for (failure, stored) in [
        (UpstreamFailure::NoSuchUser, StoredEntry::Drop),
        (UpstreamFailure::RateLimited { wait: None }, StoredEntry::Serve),
        (UpstreamFailure::Unauthorized, StoredEntry::Serve),
        (UpstreamFailure::LegalReasons, StoredEntry::Drop),
        (UpstreamFailure::VersionRetired, StoredEntry::Serve),
        (UpstreamFailure::Unprocessable, StoredEntry::Keep),
        (UpstreamFailure::Status(403), StoredEntry::Serve),
        (UpstreamFailure::Invalid, StoredEntry::Serve),
        (UpstreamFailure::Timeout, StoredEntry::Serve),
        (UpstreamFailure::Unreachable, StoredEntry::Serve),
    ] {
        assert_eq!(failure.stored(), stored);
    }
}

#[test]
fn how_a_failed_exchange_counts() {
    for (error, failure) in [
        (FetchError::Timeout, UpstreamFailure::Timeout),
        (FetchError::Connect(String::new()), UpstreamFailure::Unreachable),
        (FetchError::Protocol(String::new()), UpstreamFailure::Invalid),
        (FetchError::BodyTooLarge, UpstreamFailure::Invalid),
    ] {
        assert_eq!(UpstreamFailure::from(&error), failure);
    }
}

#[test]
fn headers_are_read_whatever_their_number_and_case() {
    let answer = fetched(
        200,
        &[("Link", "<a>; rel=\"next\""), ("LINK", "<b>; rel=\"prev\""), ("X-RateLimit-Remaining", " 42 ")],
        "",
    );
    assert_eq!(relations(&answer), Relations { next: true, prev: true });
    assert_eq!(remaining(&answer), Some(42));
    for (tag, accepted) in [
        ("W/\"abc\"", true),
        ("\"abc\"", true),
        ("\"\"", true),
        ("abc", false),
        ("W/abc", false),
        ("\"a\"b\"", false),
        ("\"a b\"", false),
        ("\"é\"", false),
        ("\"", false),
    ] {
        assert_eq!(validator(&fetched(200, &[("etag", tag)], "")), accepted.then_some(tag), "{tag}");
    }
}

proptest! {
    #[test]
    fn any_answer_is_read(
        status: u16,
        headers in proptest::collection::vec(
            ("(?i)content-type|date|retry-after|x-ratelimit-(remaining|reset)|link|etag", any::<Vec<u8>>()), 0..6,
        ),
        body: Vec<u8>,
        now: u64,
    ) {
        let fetched = FetchResponse { status, headers, body };
        let answer = classify(&fetched, Duration::from_secs(now));
        if let Answer::Failed(UpstreamFailure::RateLimited { wait: Some(wait) }) = answer {
            prop_assert!((1..=MAX_WAIT).contains(&wait));
        }
        let _ = (quota(&fetched, Duration::from_secs(now)), relations(&fetched), remaining(&fetched), validator(&fetched));
    }
}
