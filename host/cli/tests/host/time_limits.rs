//! Nothing lasts for ever: not a guest, not a body, not a client.

use std::time::{Duration, Instant};

use http::{Request, StatusCode};
use http_body_util::Full;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::sleep};

use crate::{
    client::{begin, read, until_closed},
    harness::Host,
};

#[tokio::test]
async fn a_guest_that_spins_is_stopped_and_others_are_served_meanwhile() {
    let host = Host::start("service", &["--threads", "1", "--request-timeout", "5s"]);
    let (spun, others) = tokio::join!(host.get("/spin"), async {
        sleep(Duration::from_millis(100)).await;
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(host.get("/hello/meanwhile").await.status);
        }
        (answers, host.metric("wasi_http_host_instances_ended_total{component=\"guest_service\",reason=\"request_timeout\"}").await)
    });
    assert_eq!((spun.status, spun.text()), (StatusCode::GATEWAY_TIMEOUT, r#"{"detail":"Gateway Timeout"}"#));
    assert_eq!(others.0, [StatusCode::OK; 5]);
    host.wait_for_metric(
        "wasi_http_host_instances_ended_total{component=\"guest_service\",reason=\"request_timeout\"}",
        |ended| ended == 1.0,
    )
    .await;
}

#[tokio::test]
async fn a_guest_that_spins_is_stopped_although_a_body_is_being_read_from_it() {
    // No other limit ends it: nobody who waits for the body gives up before the test does.
    let flags = ["--threads", "1", "--request-timeout", "1s", "--body-idle-timeout", "10m"];
    let host = Host::start("service", &flags);
    let head = begin(host.address, Request::get("/stall").body(Full::default()).unwrap()).await;
    assert_eq!(host.get("/spin").await.status, StatusCode::GATEWAY_TIMEOUT);
    let cut = read(head).await;
    assert!(!cut.whole && cut.text() == "begun", "{cut:?}");
    assert_eq!(host.get("/served").await.text(), "1");
}

#[tokio::test]
async fn a_guest_that_never_answers_is_given_up() {
    let host = Host::start("service", &["--threads", "1", "--request-timeout", "300ms"]);
    let started = Instant::now();
    assert_eq!(host.get("/hang").await.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(started.elapsed() >= Duration::from_millis(300));
    // Its instance takes no others, and goes.
    assert_eq!(host.get("/served").await.text(), "1");
}

#[tokio::test]
async fn what_shares_an_instance_with_a_late_request_may_finish() {
    let host = Host::start("service", &["--threads", "1", "--request-timeout", "1s"]);
    let (late, sibling) = tokio::join!(host.get("/hang"), async {
        sleep(Duration::from_millis(500)).await;
        host.get("/sleep/800").await
    });
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(sibling.text(), "slept");
}

#[tokio::test]
async fn a_body_that_never_ends_is_broken_off() {
    let host = Host::start("service", &["--response-timeout", "500ms"]);
    let answer = host.get("/endless").await;
    assert!(answer.status == StatusCode::OK && !answer.whole && !answer.body.is_empty());
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

#[tokio::test]
async fn a_body_that_stands_still_is_broken_off() {
    let host = Host::start("service", &["--body-idle-timeout", "2s"]);
    let answer = host.get("/stall").await;
    assert!(!answer.whole && answer.text() == "begun", "{answer:?}");
    // One that goes on slowly is not.
    let answer = host.get("/drip/150").await;
    assert!(answer.whole && answer.text().lines().count() == 150);
}

#[tokio::test]
async fn a_guest_need_not_read_what_it_is_sent() {
    let host = Host::start("service", &["--request-timeout", "5s"]);
    let answer = host.post("/hello/unread", vec![b'x'; 1 << 20]).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

#[tokio::test]
async fn a_client_that_sends_its_head_slowly_is_let_go() {
    let host = Host::start("service", &["--header-timeout", "300ms"]);
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(b"GET /hello/x HTTP/1.1\r\nHost: x\r\n").await.unwrap();
    assert_eq!(until_closed(&mut stream).await, "");
    // And so is one that stops within the preface of HTTP/2.
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(b"PRI * HT").await.unwrap();
    assert_eq!(until_closed(&mut stream).await, "");
}

#[tokio::test]
async fn a_client_that_sends_its_body_slowly_is_let_go() {
    let host = Host::start("service", &["--body-idle-timeout", "300ms"]);
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(b"POST /count-body HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc").await.unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(answer.contains("error ErrorCode::ConnectionReadTimeout"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let host = Host::start("service", &["--keep-alive-timeout", "300ms"]);
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(b"GET /hello/x HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert!(until_closed(&mut stream).await.ends_with("hello x"));
    // And so is one on which nothing was ever said.
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    assert_eq!(until_closed(&mut stream).await, "");
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go() {
    let host = Host::start("service", &["--body-idle-timeout", "300ms"]);
    let response = begin(host.address, Request::get("/endless").body(Full::default()).unwrap()).await;
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 0.0).await;
    assert!(!read(response).await.whole);
}

#[tokio::test]
async fn a_client_that_leaves_frees_its_place() {
    let host = Host::start("service", &["--max-concurrent-requests", "1", "--max-queued-requests", "0"]);
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(b"GET /sleep/30000 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
    assert_eq!(host.get("/hello/x").await.status, StatusCode::SERVICE_UNAVAILABLE);
    drop(stream);
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 0.0).await;
    assert_eq!(host.get("/hello/x").await.status, StatusCode::OK);
}
