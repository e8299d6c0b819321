//! Conditional requests that the cache answers (RFC 9111, section 4.3.2; RFC 9110, section 13).

use super::{
    Case, run,
    step::{cached, origin},
};

const BOTH: &str = "etag: \"one\"\nlast-modified: Mon, 30 Nov 2020 08:00:00 GMT\ncache-control: max-age=60\ncontent-location: /here\nvary: x-a";
const DATED: &str = "last-modified: Mon, 30 Nov 2020 08:00:00 GMT\ncache-control: max-age=60";

const CASES: &[Case] = &[
    (
        "an equal entity tag is a 304, with what a 304 has",
        &[
            origin(BOTH),
            cached()
                .with("if-none-match: \"one\"")
                .client_gets(304)
                .has("etag: \"one\"\ncache-control: max-age=60\ncontent-location: /here\nvary: x-a"),
        ],
    ),
    (
        "an entity tag of several is enough",
        &[
            origin(BOTH),
            cached().with("if-none-match: \"zero\", \"one\" , W/\"two\"").client_gets(304),
            cached().with("if-none-match: \"zero\"\nif-none-match: \"one\"").client_gets(304),
        ],
    ),
    ("the comparison is weak", &[origin(BOTH), cached().with("if-none-match: W/\"one\"").client_gets(304)]),
    ("a star is any response", &[origin(BOTH), cached().with("if-none-match: *").client_gets(304)]),
    (
        "another entity tag is a 200",
        &[origin(BOTH), cached().with("if-none-match: \"two\""), cached().with("if-none-match: \"One\"")],
    ),
    (
        "an entity tag may contain a comma",
        &[
            origin("etag: \"a, b\"\ncache-control: max-age=60"),
            cached().with("if-none-match: \"a\""),
            cached().with("if-none-match: \"b\", \"a, b\"").client_gets(304),
        ],
    ),
    (
        "the entity tag outranks the date",
        &[
            origin(BOTH),
            cached().with("if-none-match: \"two\"\nif-modified-since: Mon, 30 Nov 2020 08:00:00 GMT"),
            cached()
                .with("if-none-match: \"one\"\nif-modified-since: Mon, 30 Nov 2015 08:00:00 GMT")
                .client_gets(304),
        ],
    ),
    (
        "a date that is not earlier is a 304",
        &[
            origin(DATED),
            cached().with("if-modified-since: Mon, 30 Nov 2020 08:00:00 GMT").client_gets(304),
            cached().with("if-modified-since: Monday, 30-Nov-20 08:00:00 GMT").client_gets(304),
            cached().with("if-modified-since: Tue, 01 Dec 2020 08:00:00 GMT").client_gets(304),
            cached().with("if-modified-since: Mon, 30 Nov 2020 07:59:59 GMT"),
            cached().with("if-modified-since: yesterday"),
        ],
    ),
    (
        "a HEAD may be conditional",
        &[origin(BOTH), cached().method("HEAD").with("if-none-match: \"one\"").client_gets(304)],
    ),
    (
        "a 304 of the origin's does not answer others",
        &[
            origin("etag: \"one\"\ncache-control: max-age=60").with("if-none-match: \"one\"").status(304),
            origin("etag: \"one\"\ncache-control: max-age=60"),
            cached().body_of(1),
        ],
    ),
];

#[tokio::test]
async fn conditional_requests_are_answered_from_the_cache() {
    run(CASES).await;
}
