//! Stale responses that are still used (RFC 5861).

use testkit::until;

use super::{
    Cache, Case, run,
    step::{cached, origin, validated},
};

const ERRORS: &[Case] = &[
    (
        "stale-if-error answers in place of an error",
        &[
            origin("cache-control: max-age=60, stale-if-error=600\nage: 90"),
            stale(500),
            stale(502),
            stale(503),
            stale(504),
        ],
    ),
    (
        "and of a component that fails",
        &[origin("cache-control: max-age=60, stale-if-error=600\nage: 90"), stale(500).fails(200)],
    ),
    (
        "not of other statuses",
        &[origin("cache-control: max-age=60, stale-if-error=600\nage: 90"), origin("").status(404)],
    ),
    (
        "not after its time",
        &[origin("cache-control: max-age=60, stale-if-error=600\nage: 700"), origin("").status(503)],
    ),
    (
        "not without it",
        &[
            origin("etag: \"one\"\ncache-control: max-age=60, must-revalidate\nage: 90"),
            validated("if-none-match: \"one\"", "").replaced(503),
        ],
    ),
    (
        "not against must-revalidate",
        &[
            origin("cache-control: max-age=60, stale-if-error=600, must-revalidate\nage: 90"),
            origin("").status(503),
        ],
    ),
    (
        "not against proxy-revalidate",
        &[
            origin("cache-control: max-age=60, stale-if-error=600, proxy-revalidate\nage: 90"),
            origin("").status(503),
        ],
    ),
    (
        "not against s-maxage",
        &[origin("cache-control: s-maxage=60, stale-if-error=600\nage: 90"), origin("").status(503)],
    ),
    (
        "not against no-cache",
        &[origin("cache-control: max-age=60, stale-if-error=600, no-cache"), origin("").status(503)],
    ),
];

const WINDOW: &[Case] = &[(
    "the time to revalidate is over",
    &[
        origin("cache-control: max-age=60, stale-while-revalidate=600\nage: 700"),
        origin("cache-control: max-age=60"),
        cached().body_of(1),
    ],
)];

/// The origin answers with an error, and the client gets the stored response.
const fn stale(status: u16) -> super::Step {
    origin("").status(status).client_gets(200).body_of(0)
}

#[tokio::test]
async fn a_stale_response_stands_in_for_an_error_only_where_it_may() {
    run(ERRORS).await;
}

#[tokio::test]
async fn a_stale_response_is_answered_while_one_request_revalidates_it() {
    let cache = Cache::start(&[]).await;
    let first = origin("cache-control: max-age=60, stale-while-revalidate=600\nage: 90\netag: \"one\"");
    cache.send("/swr", &first, first.answer("first")).await;
    let second = origin("cache-control: max-age=60\netag: \"two\"");
    let stale = cache.send("/swr", &second, second.answer("second")).await;
    assert_eq!((stale.status, stale.text()), (200, "first"));
    until("the new response is in the cache", async || {
        let answer = cache.send("/swr", &second, second.answer("second")).await;
        (answer.text() == "second").then_some(())
    })
    .await;
    let asked = cache.origin.requests("/swr");
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(asked[1].field("if-none-match").as_deref(), Some("\"one\""));
    assert_eq!(asked[1].method, "GET");
}

#[tokio::test]
async fn a_stale_response_is_not_answered_after_its_time_to_revalidate() {
    run(WINDOW).await;
}
