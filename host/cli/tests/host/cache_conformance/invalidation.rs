//! Invalidation by unsafe methods (RFC 9111, section 4.4) and by groups (RFC 9875).

use super::{
    Case, run,
    step::{cached, origin},
};

const FRESH: &str = "cache-control: max-age=60";
const GROUPED: &str = "cache-control: max-age=60\ncache-groups: \"red\", \"blue\"";

const BY_METHOD: &[Case] = &[
    ("a POST invalidates its address", &[origin(FRESH), origin("").method("POST"), origin(FRESH)]),
    ("a PUT does", &[origin(FRESH), origin("").method("PUT").status(204), origin(FRESH)]),
    ("a DELETE does", &[origin(FRESH), origin("").method("DELETE").status(303), origin(FRESH)]),
    (
        "a method that the host does not know does",
        &[origin(FRESH), origin("").method("REMOVE"), origin(FRESH)],
    ),
    ("safe methods do not", &[origin(FRESH), origin("").method("OPTIONS"), cached()]),
    (
        "one that fails does not",
        &[
            origin(FRESH),
            origin("").method("POST").status(500),
            origin("").method("DELETE").status(404),
            cached(),
        ],
    ),
    (
        "all variants are invalid",
        &[
            origin("cache-control: max-age=60\nvary: x-a").with("x-a: 1"),
            origin("cache-control: max-age=60\nvary: x-a").with("x-a: 2"),
            origin("").method("DELETE"),
            origin("cache-control: max-age=60\nvary: x-a").with("x-a: 1"),
            origin("cache-control: max-age=60\nvary: x-a").with("x-a: 2"),
        ],
    ),
    ("other addresses stay valid", &[origin(FRESH), origin("").method("POST").path("/other"), cached()]),
    (
        "the addresses that the response names are invalid",
        &[
            origin(FRESH).path("/made"),
            origin(FRESH).path("/changed?b=1"),
            origin("location: made\ncontent-location: changed?b=1").method("POST").path("/new").status(201),
            origin(FRESH).path("/made"),
            origin(FRESH).path("/changed?b=1"),
        ],
    ),
    (
        "those of another authority are not",
        &[
            origin(FRESH).with("host: one.example"),
            origin("location: http://one.example/9").with("host: two.example").method("POST"),
            cached().with("host: one.example"),
        ],
    ),
];

const BY_GROUP: &[Case] = &[
    (
        "a group is invalidated by a response to an unsafe method",
        &[
            origin(GROUPED).path("/red"),
            origin("cache-control: max-age=60\ncache-groups: \"green\"").path("/green"),
            origin("cache-group-invalidation: \"red\"").method("POST").path("/act"),
            origin(GROUPED).path("/red"),
            cached().path("/green").body_of(1),
        ],
    ),
    (
        "each group of a list is",
        &[
            origin("cache-control: max-age=60\ncache-groups: \"red\"").path("/red"),
            origin("cache-control: max-age=60\ncache-groups: \"blue\"").path("/blue"),
            origin("cache-group-invalidation: \"blue\"\ncache-group-invalidation: \"red\";a=1")
                .method("DELETE")
                .path("/act"),
            origin("").path("/red"),
            origin("").path("/blue"),
        ],
    ),
    (
        "a safe method invalidates no group",
        &[
            origin(GROUPED).path("/red"),
            origin("cache-group-invalidation: \"red\"").path("/act"),
            cached().path("/red"),
        ],
    ),
    (
        "names of groups have their case, and are strings",
        &[
            origin(GROUPED).path("/red"),
            origin("cache-group-invalidation: \"Red\"").method("POST").path("/act"),
            origin("cache-group-invalidation: red").method("POST").path("/act"),
            cached().path("/red"),
        ],
    ),
];

#[tokio::test]
async fn unsafe_methods_invalidate_their_address() {
    run(BY_METHOD).await;
}

#[tokio::test]
async fn groups_are_invalidated_together() {
    run(BY_GROUP).await;
}
