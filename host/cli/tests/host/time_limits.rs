//! Time limits of guests, bodies and connections.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::harness::start_guest;

#[tokio::test]
async fn a_guest_that_spins_is_stopped_and_others_are_served_meanwhile() {
    let host = start_guest("service", &["--threads", "1", "--request-timeout", "5s"]).await;
    let (spun, others) = tokio::join!(host.get("/spin"), async {
        sleep(Duration::from_millis(100)).await;
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(host.get("/hello/meanwhile").await.status);
        }
        (answers, host.metric("wasi_http_host_instances_ended_total{component=\"guest_service\",reason=\"request_timeout\"}").await)
    });
    assert_eq!((spun.status, spun.text()), (504, r#"{"detail":"Gateway Timeout"}"#));
    assert_eq!(others.0, [200; 5]);
    host.wait_for_metric(
        "wasi_http_host_instances_ended_total{component=\"guest_service\",reason=\"request_timeout\"}",
        |ended| ended == 1.0,
    )
    .await;
}

#[tokio::test]
async fn a_guest_that_spins_is_stopped_although_a_body_is_being_read_from_it() {
    // No other limit ends the request: the limit of an idle body is longer than the test.
    let flags = ["--threads", "1", "--request-timeout", "1s", "--body-idle-timeout", "10m"];
    let host = start_guest("service", &flags).await;
    let mut stalled = host.request("GET", "/stall").start().await.unwrap();
    stalled.head("GET").await.unwrap();
    assert_eq!(host.get("/spin").await.status, 504);
    let cut = stalled.response_to_partial("GET").await.unwrap();
    assert!(!cut.complete && cut.text() == "begun", "{cut:?}");
    assert_eq!(host.get("/served").await.text(), "1");
}

#[tokio::test]
async fn a_guest_that_never_answers_is_given_up() {
    let host = start_guest("service", &["--threads", "1", "--request-timeout", "300ms"]).await;
    let started = Instant::now();
    assert_eq!(host.get("/hang").await.status, 504);
    assert!(started.elapsed() >= Duration::from_millis(300));
    // The instance accepts no other request and ends.
    assert_eq!(host.get("/served").await.text(), "1");
}

#[tokio::test]
async fn what_shares_an_instance_with_a_late_request_may_finish() {
    let host = start_guest("service", &["--threads", "1", "--request-timeout", "1s"]).await;
    let (late, sibling) = tokio::join!(host.get("/hang"), async {
        sleep(Duration::from_millis(500)).await;
        host.get("/sleep/800").await
    });
    assert_eq!(late.status, 504);
    assert_eq!(sibling.text(), "slept");
}

#[tokio::test]
async fn a_request_that_waited_for_an_instance_has_its_504_in_time() {
    // The second request waits for three seconds until the only instance has served the first and ended.
    let flags = ["--threads", "1", "--max-instances", "1", "--instance-max-requests", "1"];
    let host = start_guest("service", &[&flags[..], &["--request-timeout", "4s"]].concat()).await;
    let started = Instant::now();
    let (first, late) = tokio::join!(host.get("/sleep/3000"), async {
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
        host.get("/hang").await.status
    });
    assert_eq!((first.text(), late), ("slept", 504));
    // A timer that started with the second instance would fire after seven seconds: three for the first request, and
    // four for the timeout.
    let elapsed = started.elapsed();
    assert!(elapsed < Duration::from_secs(7), "the 504 came after {elapsed:?}");
}

#[tokio::test]
async fn a_body_that_never_ends_is_broken_off() {
    let host = start_guest("service", &["--response-timeout", "500ms"]).await;
    let answer = host.get_partial("/endless").await;
    assert!(answer.status == 200 && !answer.complete && !answer.body.is_empty());
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

#[tokio::test]
async fn a_body_that_stands_still_is_broken_off() {
    let host = start_guest("service", &["--body-idle-timeout", "2s"]).await;
    let answer = host.get_partial("/stall").await;
    assert!(!answer.complete && answer.text() == "begun", "{answer:?}");
    // A body that continues slowly is complete.
    let answer = host.get("/drip/150").await;
    assert!(answer.complete && answer.text().lines().count() == 150);
}

#[tokio::test]
async fn a_guest_need_not_read_what_it_is_sent() {
    let host = start_guest("service", &["--request-timeout", "5s"]).await;
    let answer = host.post("/hello/unread", vec![b'x'; 1 << 20]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

#[tokio::test]
async fn a_client_that_sends_its_head_slowly_is_let_go() {
    let host = start_guest("service", &["--header-timeout", "300ms"]).await;
    let mut stream = host.connect().await;
    stream.write(b"GET /hello/x HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    assert_eq!(stream.until_closed().await, "");
    // The same holds for a client that stops within the preface of HTTP/2.
    let mut stream = host.connect().await;
    stream.write(b"PRI * HT").await.unwrap();
    assert_eq!(stream.until_closed().await, "");
}

#[tokio::test]
async fn a_client_that_sends_its_body_slowly_is_let_go() {
    let host = start_guest("service", &["--body-idle-timeout", "300ms"]).await;
    let mut stream = host.connect().await;
    stream.write(b"POST /count-body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc").await.unwrap();
    let answer = stream.until_closed().await;
    assert!(answer.contains("error ErrorCode::ConnectionReadTimeout"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let host = start_guest("service", &["--keep-alive-timeout", "300ms"]).await;
    let mut stream = host.connect().await;
    stream.write(b"GET /hello/x HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(stream.until_closed().await.ends_with("hello x"));
    // The same holds for a connection without any request.
    let mut stream = host.connect().await;
    assert_eq!(stream.until_closed().await, "");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let host = start_guest("service", &["--body-idle-timeout", "300ms"]).await;
    let mut unread = host.request("GET", "/endless").start().await.unwrap();
    unread.head("GET").await.unwrap();
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 0.0).await;
    assert!(!unread.response_to_partial("GET").await.unwrap().complete);
}
