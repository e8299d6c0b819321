//! Components of the generation before: `wasi:http@0.2` proxies.

use http::StatusCode;

use crate::harness::Host;

#[tokio::test]
async fn a_proxy_answers_and_streams() {
    let host = Host::start("proxy", &[]);
    let answer = host.get("/hello/world").await;
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "hello world"));
    let answer = host.get("/chunks/50").await;
    assert!(answer.whole && answer.body.len() == 300);
    assert_eq!(host.get("/other").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn one_that_blocks_is_joined_by_others() {
    let host = Host::start("proxy", &["--threads", "1"]);
    let answers = futures::future::join_all((0..8).map(|_| host.get("/sleep/500"))).await;
    assert!(answers.iter().all(|answer| answer.text() == "slept"));
    let made = host.metric("wasi_http_host_instances_created_total").await;
    assert!((2.0..=8.0).contains(&made), "{made}");
}

#[tokio::test]
async fn one_that_spins_traps_or_says_nothing_costs_its_own_request() {
    let host = Host::start("proxy", &["--request-timeout", "500ms"]);
    assert_eq!(host.get("/spin").await.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(host.get("/trap").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(host.get("/silent").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(host.get("/hello/again").await.text(), "hello again");
}
