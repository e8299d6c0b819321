//! Well-formed requests and their responses.

use testkit::http::{http2, raw};
use tokio::net::TcpStream;

use crate::harness::start_guest;

#[tokio::test]
async fn a_service_answers_over_both_versions_of_http() {
    let host = start_guest("service", &[]).await;
    let answer = host.get("/hello/world").await;
    assert_eq!((answer.status, answer.text()), (200, "hello world"));
    assert_eq!(answer.header("content-length"), Some("11"));
    let mut client = http2::connect(TcpStream::connect(host.address()).await.unwrap()).await;
    let url = format!("http://{}/hello/two", host.address());
    let answer = http2::send(&mut client, http2::get(&url)).await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "hello two"));
}

#[tokio::test]
async fn a_service_sees_method_target_scheme_and_authority() {
    let host = start_guest("service", &[]).await;
    let answer = host.request("GET", "/target/a?b=c").header("host", "example.org:81").send().await;
    assert_eq!(answer.text(), "Some(Scheme::Http) example.org:81 /target/a?b=c");
    let answer = host.request("DELETE", "/method").send().await;
    assert_eq!(answer.text(), "Method::Delete");
}

#[tokio::test]
async fn what_concerns_the_connection_does_not_reach_the_guest() {
    let host = start_guest("service", &[]).await;
    let request = host
        .request("GET", "/headers")
        .header("connection", "close, x-mine")
        .header("x-mine", "1")
        .header("x-yours", "2")
        .header("proxy-authorization", "secret");
    let seen = request.send().await;
    assert!(seen.text().contains("x-yours: 2\n"), "{}", seen.text());
    for hidden in ["connection", "x-mine", "proxy-authorization", "host", "transfer-encoding"] {
        assert!(!seen.text().contains(&format!("{hidden}:")), "{hidden} in {}", seen.text());
    }
    // Each of several `Connection` lines may name headers.
    for lines in [
        "Connection: close\r\nConnection: X-Mine",
        "Connection: keep-alive\r\nConnection: x-mine, close",
        "Connection: X-MINE\r\nConnection: close",
        "connection: keep-alive\r\nX-Between: 1\r\nCONNECTION: , X-Mine ,\r\nConnection: close",
    ] {
        let head = format!("GET /headers HTTP/1.1\r\nHost: a\r\nX-Mine: 1\r\nX-Yours: 2\r\n{lines}\r\n\r\n");
        let seen = raw(host.address(), head.as_bytes()).await;
        assert!(seen.contains("x-yours: 2\n"), "{lines:?}: {seen}");
        assert!(!seen.contains("x-mine:") && !seen.contains("close\n"), "{lines:?}: {seen}");
    }
}

#[tokio::test]
async fn each_request_has_an_identity_that_guest_client_and_log_share() {
    let host = start_guest("service", &[]).await;
    let answer = host.request("GET", "/headers").header("x-request-id", "mine-1").send().await;
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    assert!(answer.text().contains("x-request-id: mine-1\n"));
    let line = host.wait_for_line(|line| line["request_id"] == "mine-1").await;
    assert_eq!((&line["status"], &line["path"]), (&200.into(), &"/headers".into()));

    let answer = host.request("GET", "/headers").header("x-request-id", "not well formed").send().await;
    let made = answer.header("x-request-id").unwrap();
    assert!(made.len() == 32 && answer.text().contains(made), "{made}");
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let host = start_guest("service", &[]).await;
    let answer = host.get("/chunks/100").await;
    assert_eq!(
        (answer.body.len(), answer.complete, answer.header("transfer-encoding")),
        (890, true, Some("chunked"))
    );
    let sent: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let answer = host.post("/echo", sent.clone()).await;
    assert!(answer.complete && answer.body == sent, "{} of {} bytes", answer.body.len(), sent.len());
    let answer = host.get("/bytes/3000000").await;
    assert!(answer.complete && answer.body.len() == 3_000_000);
}

#[tokio::test]
async fn a_body_may_be_written_before_its_response_is_returned() {
    let host = start_guest("service", &["--request-timeout", "5s"]).await;
    for length in [0, 1, 256 << 10] {
        let answer = host.get(&format!("/written-first/{length}")).await;
        assert_eq!((answer.status, answer.complete), (200, true), "{length} bytes");
        assert!(answer.body == vec![b'w'; length], "{} of {length} bytes", answer.body.len());
    }
}

#[tokio::test]
async fn the_host_reads_a_bounded_part_of_the_bodies_that_nobody_waits_for() {
    let host = start_guest("service", &["--threads", "1", "--max-instances", "1"]).await;
    for _ in 0..3 {
        // Four times 64 KiB, and again after these responses were dropped.
        assert_eq!(host.get("/unread/10").await.text(), "4");
    }
    assert_eq!(host.get("/served").await.text(), "4", "by one instance");
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let host = start_guest("service", &[]).await;
    let answer = host.request("HEAD", "/bytes/100").send().await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("100"), 0));
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let host = start_guest("service", &[]).await;
    let one = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let all = [one("/sleep/50", ""), one("/hello/a", ""), one("/hello/b", "Connection: close\r\n")].concat();
    let answers = raw(host.address(), all.as_bytes()).await;
    let places: Vec<_> = ["slept", "hello a", "hello b"].iter().map(|body| answers.find(body)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{answers}");
}

#[tokio::test]
async fn an_instance_serves_many_requests_at_once_and_one_after_the_other() {
    let host = start_guest("service", &["--threads", "1"]).await;
    assert_eq!(host.get("/served").await.text(), "1");
    assert_eq!(host.get("/served").await.text(), "2");
    let slow = (0..10).map(|_| host.get("/sleep/200"));
    let answers = futures::future::join_all(slow).await;
    assert!(answers.iter().all(|answer| answer.text() == "slept"));
    assert_eq!(host.metric("wasi_http_host_instances_created_total").await, 1.0);
    assert_eq!(host.metric("wasi_http_host_instances_reused_total").await, 11.0);
}

#[tokio::test]
async fn an_instance_is_replaced_after_its_requests() {
    let host = start_guest("service", &["--threads", "1", "--instance-max-requests", "2"]).await;
    let mut served = Vec::new();
    for _ in 0..5 {
        served.push(host.get("/served").await.text().to_owned());
    }
    assert_eq!(served, ["1", "2", "1", "2", "1"]);
}

#[tokio::test]
async fn with_one_request_each_every_request_has_a_fresh_instance() {
    let host = start_guest("service", &["--instance-max-requests", "1"]).await;
    let answers = futures::future::join_all((0..20).map(|_| host.get("/served"))).await;
    assert!(answers.iter().all(|answer| answer.text() == "1"));
}

#[tokio::test]
async fn an_idle_instance_goes() {
    let host = start_guest("service", &["--threads", "1", "--instance-idle-timeout", "50ms"]).await;
    host.get("/hello/x").await;
    host.wait_for_metric("wasi_http_host_instances_live", |live| live == 0.0).await;
    assert_eq!(host.get("/served").await.text(), "1");
}
