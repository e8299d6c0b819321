//! Components of WASI 0.2: proxies of `wasi:http@0.2`.

use std::time::Duration;

use testkit::ports::listen;
use tokio::{io::AsyncReadExt as _, time::timeout};

use crate::harness::start_guest;

#[tokio::test]
async fn a_proxy_answers_and_streams() {
    let host = start_guest("proxy", &[]).await;
    let answer = host.get("/hello/world").await;
    assert_eq!((answer.status, answer.text()), (200, "hello world"));
    let answer = host.get("/chunks/50").await;
    assert!(answer.complete && answer.body.len() == 300);
    assert_eq!(host.get("/other").await.status, 404);
}

#[tokio::test]
async fn one_that_blocks_is_joined_by_others() {
    let host = start_guest("proxy", &["--threads", "1"]).await;
    let answers = futures::future::join_all((0..8).map(|_| host.get("/sleep/500"))).await;
    assert!(answers.iter().all(|answer| answer.text() == "slept"));
    let made = host.metric("wasi_http_host_instances_created_total").await;
    assert!((2.0..=8.0).contains(&made), "{made}");
}

#[tokio::test]
async fn one_that_spins_traps_or_says_nothing_costs_its_own_request() {
    let host = start_guest("proxy", &["--request-timeout", "500ms"]).await;
    assert_eq!(host.get("/spin").await.status, 504);
    assert_eq!(host.get("/trap").await.status, 500);
    assert_eq!(host.get("/silent").await.status, 500);
    assert_eq!(host.get("/hello/again").await.text(), "hello again");
}

#[tokio::test]
async fn each_request_has_an_instance_of_its_own_unless_a_setting_says_otherwise() {
    let host = start_guest("proxy", &["--threads", "1"]).await;
    for _ in 0..3 {
        assert_eq!(host.get("/served").await.text(), "1");
    }
    let host = start_guest("proxy", &["--threads", "1", "--instance-max-requests", "2"]).await;
    let mut served = Vec::new();
    for _ in 0..4 {
        served.push(host.get("/served").await.text().to_owned());
    }
    assert_eq!(served, ["1", "2", "1", "2"]);
}

#[tokio::test]
async fn one_that_answers_only_once_costs_one_request_when_it_should_be_reused() {
    for (how, status, failure) in [
        ("silent", 500, "it returned without a response"),
        ("hang", 504, "it did not answer in time"),
        ("trap", 500, "it trapped"),
    ] {
        let flags = ["--threads", "2", "--instance-max-requests", "100", "--request-timeout", "2s"];
        let host = start_guest("proxy", &flags).await;
        let clients = (0..8).map(async |_| {
            let mut answers = Vec::new();
            for _ in 0..10 {
                answers.push(host.get(&format!("/once/{how}")).await.status);
            }
            answers
        });
        let mut failed = futures::future::join_all(clients).await.concat();
        failed.retain(|status| *status != 200);
        assert_eq!(failed, [status], "{how}");
        let line = host.wait_for_line(|line| line["failure"] == failure).await;
        assert!(line["message"].as_str().unwrap().ends_with("set --instance-max-requests 1"), "{line}");
        assert_eq!((&line["component"], &line["level"]), (&"guest_proxy".into(), &"ERROR".into()));
        assert_eq!(host.metric("wasi_http_host_reused_instance_failures_total").await, 1.0);
        assert_eq!(host.metric("wasi_http_host_instance_reuse_stopped_total").await, 1.0);
    }
}

#[tokio::test]
async fn what_a_client_provokes_does_not_end_the_reuse_that_has_worked() {
    let host = start_guest("proxy", &["--threads", "1", "--instance-max-requests", "100"]).await;
    for (path, answer) in [
        ("/served", (200, "1")),
        ("/served", (200, "2")),
        ("/trap", (500, r#"{"detail":"Internal Server Error"}"#)),
        ("/served", (200, "1")),
        ("/silent", (500, r#"{"detail":"Internal Server Error"}"#)),
        ("/served", (200, "1")),
        ("/served", (200, "2")),
    ] {
        let reply = host.get(path).await;
        assert_eq!((reply.status, reply.text()), answer, "{path}");
    }
    assert_eq!(host.metric("wasi_http_host_reused_instance_failures_total").await, 2.0);
    assert_eq!(host.metric("wasi_http_host_instance_reuse_stopped_total").await, 0.0);
}

#[tokio::test]
async fn a_body_that_it_never_finishes_is_broken_off_when_it_returns() {
    for reuse in [&[][..], &["--instance-max-requests", "100"]] {
        let flags = ["--body-idle-timeout", "10m", "--response-timeout", "10m"];
        let host = start_guest("proxy", &[&flags[..], reuse].concat()).await;
        let mut stream = host.connect().await;
        stream.write(b"GET /unfinished HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        // The connection ends. If any of the body has come, its last chunk has not.
        let answer = stream.until_closed().await;
        assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
        // A body that the proxy finishes is complete.
        let answer = host.get("/chunks/2000").await;
        assert!(answer.complete && answer.body.len() == 12_000);
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_what_its_proxy_asks_of_others() {
    let (upstream, address) = listen().await;
    let host = start_guest("proxy", &["--allowed-outbound-host", &format!("http://{address}")]).await;
    let mut client = host.connect().await;
    client.write(format!("GET /fetch/{address} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let (mut asked, _) = upstream.accept().await.unwrap();
    assert!(asked.read(&mut [0; 1024]).await.unwrap() > 0, "the request has come");
    drop(client);
    // The upstream never answers. No timeout of the host is as short as this.
    let closed = timeout(Duration::from_secs(1), asked.read(&mut [0; 16])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "the upstream sees the request's end: {closed:?}");
    let left = "wasi_http_host_instances_ended_total{component=\"guest_proxy\",reason=\"client_left\"}";
    host.wait_for_metric(left, |ended| ended == 1.0).await;
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

#[tokio::test]
async fn a_client_that_leaves_a_proxy_breaks_no_other_body_of_the_instance() {
    let (_upstream, address) = listen().await;
    let allowed = format!("http://{address}");
    let flags = ["--threads", "1", "--max-instances", "1", "--instance-max-requests", "2"];
    let host = start_guest("proxy", &[&flags[..], &["--allowed-outbound-host", &allowed]].concat()).await;
    // The proxy returns from its first call when the client has read nothing for a while. A part of the body is left.
    let mut slow = host.request("GET", "/fill/1000").start().await.unwrap();
    slow.head("GET").await.unwrap();
    host.wait_for_line(|line| line["message"] == "filled").await;
    let mut leaving = host.connect().await;
    leaving.write(format!("GET /fetch/{address} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 2.0).await;
    drop(leaving);
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
    let body = slow.response_to_partial("GET").await.unwrap();
    assert!(body.complete, "after {} bytes", body.body.len());
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

#[tokio::test]
async fn a_trap_in_a_reused_proxy_breaks_no_earlier_body() {
    let flags = ["--threads", "1", "--max-instances", "1", "--instance-max-requests", "100"];
    let host = start_guest("proxy", &flags).await;
    assert_eq!(host.get("/served").await.text(), "1");
    let mut slow = host.request("GET", "/fill/500").start().await.unwrap();
    slow.head("GET").await.unwrap();
    host.wait_for_line(|line| line["message"] == "filled").await;
    // The only instance takes the next request when the body is complete.
    let trapping = tokio::spawn(host.request("GET", "/trap").send());
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 2.0).await;
    let body = slow.response_to_partial("GET").await.unwrap();
    assert!(body.complete, "after {} bytes", body.body.len());
    assert_eq!(trapping.await.unwrap().status, 500);
}
