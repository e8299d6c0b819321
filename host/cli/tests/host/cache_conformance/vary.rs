//! Responses for some requests only (RFC 9111, section 4.1).

use super::{
    Case, run,
    step::{cached, origin},
};

const BY_A: &str = "cache-control: max-age=60\nvary: X-A";

const CASES: &[Case] = &[
    (
        "a response is reused for requests with equal fields",
        &[
            origin(BY_A).with("x-a: 1"),
            origin(BY_A).with("x-a: 2"),
            cached().with("x-a: 1\nx-b: 3"),
            cached().with("x-a: 2").body_of(1),
            origin(BY_A),
        ],
    ),
    (
        "an absent field is equal to an absent field",
        &[origin(BY_A), cached().with("x-b: 1"), origin(BY_A).with("x-a: 1"), cached()],
    ),
    ("an empty field is not an absent one", &[origin(BY_A), origin(BY_A).with("x-a:")]),
    (
        "each field that is named counts",
        &[
            origin("cache-control: max-age=60\nvary: x-a, x-b\nvary: x-c").with("x-a: 1\nx-b: 2\nx-c: 3"),
            origin("cache-control: max-age=60\nvary: x-a, x-b\nvary: x-c").with("x-a: 1\nx-b: 2\nx-c: 4"),
            cached().with("x-c: 3\nx-b: 2\nx-a: 1"),
        ],
    ),
    (
        "lines of a list are the list",
        &[
            origin(BY_A).with("x-a: 1, 2"),
            cached().with("x-a: 1\nx-a: 2"),
            cached().with("x-a:  1,2"),
            origin(BY_A).with("x-a: 2, 1"),
        ],
    ),
    ("values have their case", &[origin(BY_A).with("x-a: b"), origin(BY_A).with("x-a: B")]),
    (
        "a star matches no request",
        &[
            origin("cache-control: max-age=60\nvary: *"),
            origin("cache-control: max-age=60\nvary: x-a, *"),
            origin("cache-control: max-age=60\nvary: , *"),
            origin("cache-control: max-age=60\nvary: x-a\nvary: *"),
            origin(""),
        ],
    ),
    (
        "the newest response says what a response depends on",
        &[
            origin("cache-control: max-age=60\nvary: x-a\nage: 60").with("x-a: 1\nx-b: 1"),
            origin("cache-control: max-age=60\nvary: x-b").with("x-a: 1\nx-b: 2"),
            cached().with("x-a: 9\nx-b: 2").body_of(1),
            origin("cache-control: max-age=60\nvary: x-b").with("x-a: 1\nx-b: 3"),
        ],
    ),
    (
        "an Origin is a field as others",
        &[
            origin(
                "cache-control: max-age=60\nvary: origin\naccess-control-allow-origin: https://one.example",
            )
            .with("origin: https://one.example"),
            origin("cache-control: max-age=60\nvary: origin").with("origin: https://two.example"),
            cached()
                .with("origin: https://one.example")
                .has("access-control-allow-origin: https://one.example\nvary: origin"),
        ],
    ),
];

#[tokio::test]
async fn a_response_is_reused_for_requests_that_select_it() {
    run(CASES).await;
}
