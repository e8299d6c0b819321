//! Traps: a trap ends the instance and its requests, and nothing else.

use crate::harness::start_guest;

#[tokio::test]
async fn a_trap_is_a_500_with_its_backtrace_in_the_log_only() {
    let mut host = start_guest("service", &["--threads", "1"]).await;
    assert_eq!(host.get("/served").await.text(), "1");
    let answer = host.get("/trap").await;
    assert_eq!((answer.status, answer.text()), (500, r#"{"detail":"Internal Server Error"}"#));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
    let line = host.wait_for_line(|line| line["message"] == "an instance trapped and was discarded").await;
    assert!(line["backtrace"].as_str().unwrap().contains("guest_service.wasm"), "{line}");
    assert_eq!(host.get("/served").await.text(), "1", "a new instance");
    assert!(host.is_running());
    let traps = "wasi_http_host_traps_total{component=\"guest_service\",kind=\"wasm `unreachable` instruction executed\"}";
    assert_eq!(host.metric(traps).await, 1.0);
}

#[tokio::test]
async fn requests_that_share_the_instance_end_with_it_and_are_counted() {
    let host = start_guest("service", &["--threads", "1"]).await;
    let (sleeping, trapped) = tokio::join!(host.get("/sleep/5000"), async {
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
        host.get("/trap").await
    });
    assert_eq!([sleeping.status, trapped.status], [500; 2]);
    assert_eq!(host.metric("wasi_http_host_sibling_requests_ended_total").await, 1.0);
}

#[tokio::test]
async fn a_request_that_has_the_instance_to_itself_has_it_until_its_body_is_out() {
    let flags = ["--threads", "1", "--max-instances", "1", "--instance-max-concurrency", "1"];
    let host = start_guest("service", &flags).await;
    let (dripped, trapped) = tokio::join!(host.get("/drip/30"), async {
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
        host.get("/trap").await
    });
    assert!(dripped.complete && dripped.text().ends_with("chunk 29\n"), "{dripped:?}");
    assert_eq!(trapped.status, 500);
    assert_eq!(host.metric("wasi_http_host_sibling_requests_ended_total").await, 0.0);
}

#[tokio::test]
async fn a_body_that_a_trap_cuts_off_does_not_look_whole() {
    let host = start_guest("service", &[]).await;
    let answer = host.get_partial("/cut").await;
    assert!(!answer.complete && answer.text() == "the first half", "{answer:?}");
}

#[tokio::test]
async fn what_is_no_response_is_a_500_or_502() {
    let host = start_guest("service", &[]).await;
    let answer = host.get("/error/internal").await;
    assert_eq!(answer.status, 500);
    assert!(!answer.text().contains("secret"), "{}", answer.text());
    assert_eq!(host.get("/error/refused").await.status, 502);
    assert_eq!(host.get("/interim").await.status, 500);
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}
