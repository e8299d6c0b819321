//! Which responses are stored, and which of their fields (RFC 9111, sections 3 and 4).

use super::{
    Case, run,
    step::{cached, origin},
};

const FRESH: &str = "cache-control: max-age=60";

const RESPONSES: &[Case] = &[
    ("a fresh response is reused", &[origin(FRESH), cached(), cached()]),
    ("a response that says nothing is not stored", &[origin(""), origin("")]),
    ("no-store is not stored", &[origin("cache-control: max-age=60, no-store"), origin("")]),
    ("a private response is not stored", &[origin("cache-control: private, max-age=60"), origin("")]),
    ("directives have no case", &[origin("cache-control: max-age=60, No-Store"), origin("")]),
    (
        "directives of several lines count",
        &[origin("cache-control: max-age=60\ncache-control: no-store"), origin("")],
    ),
    (
        "what a quoted string contains is no directive",
        &[origin("cache-control: extension=\"no-store, private\", max-age=60"), cached()],
    ),
    (
        "a status without a meaning needs explicit freshness",
        &[origin(FRESH).status(299), cached().status(299)],
    ),
    (
        "an error needs explicit freshness",
        &[origin("").status(404), origin(FRESH).status(404), cached().status(404).body_of(1)],
    ),
    (
        "no-store gives way to must-understand for a status that the cache knows",
        &[origin("cache-control: max-age=60, no-store, must-understand"), cached()],
    ),
    (
        "must-understand keeps a status out that the cache does not know",
        &[origin("cache-control: max-age=60, must-understand").status(299), origin("").status(299)],
    ),
    (
        "a partial response is not a whole one",
        &[
            origin("cache-control: max-age=60\ncontent-range: bytes 0-1/9")
                .with("range: bytes=0-1")
                .status(206)
                .body("ab"),
            origin(""),
        ],
    ),
    ("an incomplete response is not stored", &[origin(FRESH).breaks_off().body("begun"), origin("")]),
];

const METHODS: &[Case] = &[
    (
        "the response to a POST is not reused for a POST",
        &[origin(FRESH).method("POST"), origin(FRESH).method("POST")],
    ),
    (
        "a HEAD is answered by the response to a GET",
        &[
            origin("cache-control: max-age=60\nx-kept: 1"),
            cached().method("HEAD").has("content-length: 8\nx-kept: 1"),
            cached(),
        ],
    ),
    ("the response to a HEAD does not answer a GET", &[origin(FRESH).method("HEAD"), origin(FRESH)]),
    (
        "each query is an address of its own",
        &[
            origin(FRESH).path("?a=1"),
            origin(FRESH).path("?a=2"),
            origin(FRESH).path("?A=1"),
            origin(FRESH),
            cached().path("?a=1"),
        ],
    ),
    (
        "each authority has responses of its own",
        &[
            origin(FRESH).with("host: one.example"),
            origin(FRESH).with("host: two.example"),
            cached().with("host: one.example"),
        ],
    ),
    (
        "a client's own directives do not get past the cache",
        &[
            origin(FRESH),
            cached().with("cache-control: no-cache\npragma: no-cache"),
            cached().with("cache-control: max-age=0"),
            cached().with("cache-control: no-store"),
        ],
    ),
    ("a client's cookies do not get past the cache", &[origin(FRESH), cached().with("cookie: a=1")]),
];

const FIELDS: &[Case] = &[
    (
        "fields of the connection are not stored",
        &[
            origin(
                "cache-control: max-age=60\nproxy-authenticate: Basic\nproxy-authentication-info: a=1\nkeep-alive: timeout=9\nx-kept: 1",
            ),
            cached()
                .has("x-kept: 1\ncache-control: max-age=60")
                .lacks("proxy-authenticate\nproxy-authentication-info\nkeep-alive\nconnection"),
        ],
    ),
    (
        "fields that Connection names are not stored",
        &[
            origin("connection: x-hop\ncache-control: max-age=60\nx-hop: 1\nx-kept: 1"),
            cached().has("x-kept: 1").lacks("x-hop\nconnection"),
        ],
    ),
    (
        "fields that occur twice do so again",
        &[origin("cache-control: max-age=60\nx-twice: 1\nx-twice: 2"), cached().has("x-twice: 1, 2")],
    ),
    (
        "Date and Expires stay what they were",
        &[
            origin(
                "date: Mon, 30 Nov 2026 08:00:00 GMT\ncache-control: max-age=999999999\nexpires: Tue, 30 Nov 2032 08:00:00 GMT",
            ),
            cached().has("date: Mon, 30 Nov 2026 08:00:00 GMT\nexpires: Tue, 30 Nov 2032 08:00:00 GMT"),
        ],
    ),
    (
        "a field that no-cache names is not reused without validation",
        &[
            origin("cache-control: max-age=60, no-cache=\"x-own, x-other\"\nx-own: 1\nx-other: 2\nx-kept: 1"),
            cached().has("x-kept: 1").lacks("x-own\nx-other"),
        ],
    ),
    (
        "a field that private names is not reused",
        &[
            origin("cache-control: max-age=60, private=\"x-own\"\nx-own: 1\nx-kept: 1"),
            cached().has("x-kept: 1").lacks("x-own"),
        ],
    ),
];

#[tokio::test]
async fn responses_are_stored_by_what_they_say() {
    run(RESPONSES).await;
}

#[tokio::test]
async fn responses_are_stored_by_method_and_address() {
    run(METHODS).await;
}

#[tokio::test]
async fn fields_of_the_connection_are_not_stored() {
    run(FIELDS).await;
}
