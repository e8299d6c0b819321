//! Directives for this cache alone (RFC 9213), and what it says of itself (RFC 9211).

use super::{
    Case, run,
    step::{cached, origin, validated},
};

const CASES: &[Case] = &[
    (
        "CDN-Cache-Control outranks Cache-Control",
        &[origin("cdn-cache-control: max-age=60\ncache-control: no-store\nexpires: 0"), cached()],
    ),
    (
        "it may be the stricter one",
        &[origin("cdn-cache-control: no-store\ncache-control: max-age=60"), origin("")],
    ),
    (
        "it is passed on",
        &[
            origin("cdn-cache-control: max-age=60").has("cdn-cache-control: max-age=60"),
            cached().has("cdn-cache-control: max-age=60"),
        ],
    ),
    (
        "it has the directives of Cache-Control",
        &[
            origin("etag: \"one\"\ncdn-cache-control: max-age=60, no-cache\ncache-control: max-age=60"),
            validated("if-none-match: \"one\"", ""),
        ],
    ),
    ("an empty one is none", &[origin("cdn-cache-control:\ncache-control: max-age=60"), cached()]),
    (
        "one that is no dictionary is none",
        &[
            origin("cdn-cache-control: max-age=60, &\ncache-control: no-store"),
            origin("cdn-cache-control: no-store,\ncache-control: max-age=60"),
            cached().body_of(1),
        ],
    ),
    (
        "a value of another type says nothing",
        &[
            origin("cdn-cache-control: max-age=\"60\"\ncache-control: no-store"),
            origin("cdn-cache-control: max-age=6.5\ncache-control: no-store"),
            origin(""),
        ],
    ),
    ("of two values the last counts", &[origin("cdn-cache-control: max-age=0, max-age=60"), cached()]),
    ("parameters say nothing", &[origin("cdn-cache-control: max-age=60;a=1, b;c"), cached()]),
    ("it is not for other names", &[origin("other-cache-control: max-age=60"), origin("")]),
];

#[tokio::test]
async fn directives_for_shared_caches_outrank_those_for_all() {
    run(CASES).await;
}

#[tokio::test]
async fn an_answer_says_how_the_cache_came_to_it() {
    let cache = super::Cache::start(&[]).await;
    let fresh = origin("cache-control: max-age=60\ncache-status: origin-cache; hit");
    let stale = origin("cache-control: max-age=60\nage: 60\netag: \"one\"");
    let status = async |target: &str, step: &super::Step| {
        let response = cache.send(target, step, step.answer("answer")).await;
        let lines = response.headers.iter().filter(|(name, _)| name == "cache-status");
        lines.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
    };
    let first = status("/fresh", &fresh).await;
    assert!(first.starts_with("origin-cache; hit, ") && first.contains("fwd=uri-miss"), "{first}");
    assert!(first.contains("stored"), "{first}");
    let hit = status("/fresh", &fresh).await;
    let own = hit.rsplit(", ").next().unwrap();
    assert!(own.contains("; hit") && own.contains("ttl=") && !own.contains("fwd"), "{hit}");
    status("/stale", &stale).await;
    let validated = status("/stale", &stale).await;
    assert!(validated.contains("fwd=stale"), "{validated}");
    let passed = status("/passed", &origin("").method("POST")).await;
    assert!(passed.contains("fwd=method") && !passed.contains("stored"), "{passed}");
}
