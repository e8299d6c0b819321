use std::time::Duration;

use proptest::prelude::*;

use super::{Answer, Failure, MAX_WAIT, Stored, classify, guessed_wait, relations, remaining, validator};
use crate::ports::{FetchError, Fetched};
use crate::response::error::Error;
use crate::response::link::Relations;

/// 6 November 1994, 08:49:37.
const NOW: Duration = Duration::from_secs(784_111_777);

fn fetched(status: u16, headers: &[(&str, &str)], body: &str) -> Fetched {
    let headers =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    Fetched { status, headers, body: body.as_bytes().to_vec() }
}

fn read(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    classify(&fetched(status, headers, body), NOW)
}

const fn limited(wait: Option<u32>) -> Answer {
    Answer::Failed(Failure::RateLimited { wait })
}

#[test]
fn the_table_row_by_row() {
    use Answer::Failed;
    const JSON: &[(&str, &str)] = &[("content-type", "application/json; charset=utf-8")];
    for (answer, expected) in [
        (read(200, JSON, "[]"), Answer::Gists),
        (read(304, &[], ""), Answer::NotModified),
        (read(404, JSON, "{}"), Failed(Failure::NoSuchUser)),
        (read(429, JSON, ""), limited(None)),
        (read(401, JSON, "{}"), Failed(Failure::Unauthorized)),
        (read(403, JSON, "{}"), Failed(Failure::Status(403))),
        (read(410, JSON, "{}"), Failed(Failure::Gone(410))),
        (read(451, JSON, "{}"), Failed(Failure::Gone(451))),
        (read(422, JSON, "{}"), Failed(Failure::Unprocessable)),
        (read(500, JSON, "{}"), Failed(Failure::Status(500))),
        (read(503, &[("retry-after", "5")], ""), Failed(Failure::Status(503))),
        (read(301, &[("location", "https://evil.example/")], ""), Failed(Failure::Status(301))),
        (read(204, &[], ""), Failed(Failure::Status(204))),
        (read(418, &[], ""), Failed(Failure::Status(418))),
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
    assert_eq!(read(200, &[], "[]"), Answer::Failed(Failure::Invalid));
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
        (&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111877")], PRIMARY, limited(Some(100))),
        (&[("X-RateLimit-Remaining", "4999")], SECONDARY, limited(None)),
        (&[], PRIMARY, limited(None)),
        (&[], ABUSE, limited(None)),
        (
            &[("x-ratelimit-remaining", "12")],
            r#"{"message":"Resource not accessible"}"#,
            Answer::Failed(Failure::Status(403)),
        ),
        (
            &[],
            r#"{"message":"Forbidden","documentation_url":"https://docs.github.com/rate limit"}"#,
            Answer::Failed(Failure::Status(403)),
        ),
        (&[], "<html>You have exceeded a Rate Limit", limited(None)),
        (&[], "<html>Forbidden", Answer::Failed(Failure::Status(403))),
    ] {
        assert_eq!(read(403, headers, body), expected, "{headers:?} {body}");
    }
}

#[test]
fn the_wait_is_githubs_word_within_an_hour() {
    const RESET: (&str, &str) = ("x-ratelimit-reset", "784112377");
    for (headers, wait) in [
        (&[("retry-after", "30"), RESET][..], Some(30)),
        (&[("retry-after", "0")], Some(1)),
        (&[("retry-after", "3601")], Some(MAX_WAIT)),
        (&[("retry-after", "99999999999999999999999999")], Some(MAX_WAIT)),
        (&[("retry-after", "Sun, 06 Nov 1994 08:50:37 GMT"), RESET], Some(60)),
        (&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), RESET], Some(1)),
        (&[("retry-after", "soon"), RESET], Some(600)),
        (&[("retry-after", "-5"), RESET], Some(600)),
        (&[RESET], Some(600)),
        (&[("x-ratelimit-reset", "784111777")], None),
        (&[("x-ratelimit-reset", "1")], None),
        (&[("x-ratelimit-reset", "never")], None),
        (&[("x-ratelimit-reset", "99999999999999999999999999")], Some(MAX_WAIT)),
        (&[], None),
    ] {
        assert_eq!(read(429, headers, ""), limited(wait), "{headers:?}");
    }
}

#[test]
fn a_guess_doubles_up_to_a_quarter_of_an_hour() {
    let waits: Vec<_> = (0..8).map(guessed_wait).collect();
    assert_eq!(waits, [60, 60, 120, 240, 480, 900, 900, 900]);
    assert_eq!(guessed_wait(u32::MAX), 900);
}

#[test]
fn what_becomes_of_a_stored_entry_and_what_the_client_hears() {
    let user_not_found = Error::UserNotFound { name: "x".to_owned(), max_age: Some(60) };
    for (failure, stored, error) in [
        (Failure::NoSuchUser, Stored::Drop, user_not_found),
        (Failure::RateLimited { wait: None }, Stored::Serve, Error::RateLimited { retry_after: 9 }),
        (Failure::Unauthorized, Stored::Serve, Error::UpstreamStatus(401)),
        (Failure::Gone(451), Stored::Drop, Error::UpstreamStatus(451)),
        (Failure::Unprocessable, Stored::Keep, Error::UpstreamStatus(422)),
        (Failure::Status(403), Stored::Serve, Error::UpstreamStatus(403)),
        (Failure::Invalid, Stored::Serve, Error::UpstreamInvalid),
        (Failure::Timeout, Stored::Serve, Error::UpstreamTimeout),
        (Failure::Unreachable, Stored::Serve, Error::UpstreamUnreachable),
    ] {
        assert_eq!((failure.stored(), failure.error("x", Some(60), 9)), (stored, error));
    }
    for (error, failure) in [
        (FetchError::Timeout, Failure::Timeout),
        (FetchError::Connect(String::new()), Failure::Unreachable),
        (FetchError::Protocol(String::new()), Failure::Invalid),
        (FetchError::BodyTooLarge, Failure::Invalid),
    ] {
        assert_eq!(Failure::from(&error), failure);
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
            ("(?i)content-type|retry-after|x-ratelimit-(remaining|reset)|link|etag", any::<Vec<u8>>()), 0..6,
        ),
        body: Vec<u8>,
        now: u64,
    ) {
        let fetched = Fetched { status, headers, body };
        let answer = classify(&fetched, Duration::from_secs(now));
        if let Answer::Failed(Failure::RateLimited { wait: Some(wait) }) = answer {
            prop_assert!((1..=MAX_WAIT).contains(&wait));
        }
        let _ = (relations(&fetched), remaining(&fetched), validator(&fetched));
        if let Answer::Failed(failure) = answer {
            let status = failure.error("x", None, 1).appearance().status;
            prop_assert!([404, 422, 429, 502, 504].contains(&status));
        }
    }
}
