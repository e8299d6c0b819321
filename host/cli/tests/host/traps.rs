//! A trap ends its instance, and nothing else.

use http::StatusCode;

use crate::harness::Host;

#[tokio::test]
async fn a_trap_is_a_500_with_its_backtrace_in_the_log_only() {
    let mut host = Host::start("service", &["--threads", "1"]);
    assert_eq!(host.get("/served").await.text(), "1");
    let answer = host.get("/trap").await;
    assert_eq!(
        (answer.status, answer.text()),
        (StatusCode::INTERNAL_SERVER_ERROR, r#"{"detail":"Internal Server Error"}"#)
    );
    assert!(!answer.header("x-request-id").is_empty());
    let line = host.wait_for_line(|line| line["message"] == "an instance trapped, and is not used again");
    assert!(line["backtrace"].as_str().unwrap().contains("guest_service.wasm"), "{line}");
    assert_eq!(host.get("/served").await.text(), "1", "a new instance");
    assert!(host.is_running());
    let traps = "wasi_http_host_traps_total{component=\"guest_service\",kind=\"wasm `unreachable` instruction executed\"}";
    assert_eq!(host.metric(traps).await, 1.0);
}

#[tokio::test]
async fn requests_that_share_the_instance_end_with_it_and_are_counted() {
    let host = Host::start("service", &["--threads", "1"]);
    let (sleeping, trapped) = tokio::join!(host.get("/sleep/5000"), async {
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
        host.get("/trap").await
    });
    assert_eq!([sleeping.status, trapped.status], [StatusCode::INTERNAL_SERVER_ERROR; 2]);
    assert_eq!(host.metric("wasi_http_host_sibling_requests_ended_total").await, 1.0);
}

#[tokio::test]
async fn a_request_that_has_the_instance_to_itself_has_it_until_its_body_is_out() {
    let flags = ["--threads", "1", "--max-instances", "1", "--instance-max-concurrency", "1"];
    let host = Host::start("service", &flags);
    let (dripped, trapped) = tokio::join!(host.get("/drip/30"), async {
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
        host.get("/trap").await
    });
    assert!(dripped.whole && dripped.text().ends_with("chunk 29\n"), "{dripped:?}");
    assert_eq!(trapped.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(host.metric("wasi_http_host_sibling_requests_ended_total").await, 0.0);
}

#[tokio::test]
async fn a_body_that_a_trap_cuts_off_does_not_look_whole() {
    let host = Host::start("service", &[]);
    let answer = host.get("/cut").await;
    assert!(!answer.whole && answer.text() == "the first half", "{answer:?}");
}

#[tokio::test]
async fn what_is_no_response_is_a_500_or_502() {
    let host = Host::start("service", &[]);
    let answer = host.get("/error/internal").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    assert_eq!(host.get("/error/refused").await.status, StatusCode::BAD_GATEWAY);
    assert_eq!(host.get("/interim").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}
