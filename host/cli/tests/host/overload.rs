//! Admission: requests beyond the limits are refused early, with a `Retry-After`.

use testkit::http::Response;

use crate::harness::start_guest;

const REJECTED: &str = "wasi_http_host_requests_rejected_total{component=\"guest_service\",reason=";

fn assert_unavailable(answer: &Response) {
    assert_eq!((answer.status, answer.text()), (503, r#"{"detail":"Service Unavailable"}"#));
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.header("x-request-id").is_some_and(|id| !id.is_empty()));
}

#[tokio::test]
async fn beyond_places_and_queue_requests_are_refused_at_once() {
    let host =
        start_guest("service", &["--max-concurrent-requests", "1", "--max-queued-requests", "1"]).await;
    let (first, second, third) = tokio::join!(
        host.get("/sleep/1500"),
        async {
            host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
            host.get("/hello/queued").await
        },
        async {
            host.wait_for_metric("wasi_http_host_requests_queued", |queued| queued == 1.0).await;
            host.get("/hello/refused").await
        }
    );
    assert_eq!((first.text(), second.text()), ("slept", "hello queued"));
    assert_unavailable(&third);
    assert_eq!(host.metric(&format!("{REJECTED}\"queue_full\"}}")).await, 1.0);
}

#[tokio::test]
async fn who_waits_too_long_is_refused() {
    let host = start_guest("service", &["--max-concurrent-requests", "1", "--queue-timeout", "100ms"]).await;
    let (first, second) = tokio::join!(host.get("/sleep/1500"), async {
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
        host.get("/hello/late").await
    });
    assert_eq!(first.text(), "slept");
    assert_unavailable(&second);
    assert_eq!(host.metric(&format!("{REJECTED}\"queue_timeout\"}}")).await, 1.0);
}

#[tokio::test]
async fn without_a_free_instance_a_request_waits_for_one_and_is_refused_when_none_comes() {
    let flags = ["--max-instances", "1", "--request-timeout", "700ms"];
    let host = start_guest("proxy", &flags).await;
    // Two requests, one after the other, fit into the time limit; a third does not.
    let answers = futures::future::join_all((0..3).map(|_| host.get("/sleep/300"))).await;
    let served = answers.iter().filter(|answer| answer.status == 200).count();
    assert!(served >= 1, "{answers:?}");
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert!(matches!(refused.status, 503 | 504), "{refused:?}");
    }
    let blocked = futures::future::join_all((0..4).map(|_| host.get("/sleep/600"))).await;
    assert!(blocked.iter().any(|answer| answer.status == 503), "{blocked:?}");
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}
