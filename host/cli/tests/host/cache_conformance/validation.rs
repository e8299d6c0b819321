//! Stored responses that the host asks the origin about (RFC 9111, section 4.3).

use super::{
    Case, run,
    step::{cached, origin, validated},
};

const TAGGED: &str = "etag: \"one\"\ncache-control: max-age=60\nage: 60";
const DATED: &str = "last-modified: Mon, 30 Nov 2020 08:00:00 GMT\ncache-control: max-age=60\nage: 60";

const CASES: &[Case] = &[
    (
        "a stale response is validated by its entity tag",
        &[
            origin(TAGGED),
            validated("if-none-match: \"one\"", TAGGED),
            validated("if-none-match: \"one\"", TAGGED),
        ],
    ),
    (
        "a weak entity tag is as good",
        &[
            origin("etag: W/\"one\"\ncache-control: max-age=60\nage: 60"),
            validated("if-none-match: W/\"one\"", ""),
        ],
    ),
    (
        "a stale response is validated by its date",
        &[origin(DATED), validated("if-modified-since: Mon, 30 Nov 2020 08:00:00 GMT", DATED)],
    ),
    (
        "a stale response without a validator is not",
        &[
            origin("cache-control: max-age=60\nage: 60"),
            origin("cache-control: max-age=60"),
            cached().body_of(1),
        ],
    ),
    (
        "no-cache is stored and validated each time",
        &[
            origin("etag: \"one\"\ncache-control: max-age=60, no-cache"),
            validated("if-none-match: \"one\"", ""),
            validated("if-none-match: \"one\"", ""),
        ],
    ),
    (
        "a 304 makes the response fresh again",
        &[
            origin(TAGGED),
            validated("if-none-match: \"one\"", "etag: \"one\"\ncache-control: max-age=60"),
            cached().has("etag: \"one\""),
        ],
    ),
    (
        "a 304 changes fields, and keeps those that it does not have",
        &[
            origin("etag: \"one\"\ncache-control: max-age=60\nage: 60\nx-changed: 1\nx-kept: 1"),
            validated("if-none-match: \"one\"", "etag: \"one\"\ncache-control: max-age=60\nx-changed: 2")
                .has("x-changed: 2\nx-kept: 1"),
            cached().has("x-changed: 2\nx-kept: 1\ncache-control: max-age=60"),
        ],
    ),
    (
        "a 304 does not change the length",
        &[
            origin("etag: \"one\"\ncache-control: max-age=60\nage: 60"),
            validated(
                "if-none-match: \"one\"",
                "etag: \"one\"\ncache-control: max-age=60\ncontent-length: 999",
            )
            .has("content-length: 8"),
            cached().has("content-length: 8"),
        ],
    ),
    (
        "a new response replaces the old one",
        &[
            origin(TAGGED),
            validated("if-none-match: \"one\"", "etag: \"two\"\ncache-control: max-age=60").replaced(200),
            cached().body_of(1).has("etag: \"two\""),
        ],
    ),
    (
        "a validation asks with the fields that the response depends on",
        &[
            origin("etag: \"one\"\ncache-control: max-age=60\nage: 60\nvary: x-a").with("x-a: 1"),
            validated("if-none-match: \"one\"\nx-a: 1", "").with("x-a: 1"),
        ],
    ),
    (
        "a client that asks whether its copy is current learns it from the validation",
        &[
            origin(TAGGED),
            origin("etag: \"one\"\ncache-control: max-age=60")
                .status(304)
                .with("if-none-match: \"one\"")
                .asks("if-none-match: \"one\""),
            cached(),
        ],
    ),
];

#[tokio::test]
async fn a_stale_response_is_validated() {
    run(CASES).await;
}
