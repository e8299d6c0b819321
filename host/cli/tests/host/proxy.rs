//! Components of the generation before: `wasi:http@0.2` proxies.

use http::StatusCode;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{client::until_closed, harness::Host};

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

#[tokio::test]
async fn each_request_has_an_instance_of_its_own_unless_a_setting_says_otherwise() {
    let host = Host::start("proxy", &["--threads", "1"]);
    for _ in 0..3 {
        assert_eq!(host.get("/served").await.text(), "1");
    }
    let host = Host::start("proxy", &["--threads", "1", "--instance-max-requests", "2"]);
    let mut served = Vec::new();
    for _ in 0..4 {
        served.push(host.get("/served").await.text().to_owned());
    }
    assert_eq!(served, ["1", "2", "1", "2"]);
}

#[tokio::test]
async fn a_body_that_it_never_finishes_is_broken_off_when_it_returns() {
    let host = Host::start("proxy", &["--body-idle-timeout", "10m", "--response-timeout", "10m"]);
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(b"GET /unfinished HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    // The connection ends, and what came of the body, if it got so far, is without its last chunk.
    let answer = until_closed(&mut stream).await;
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    // One that it finished is whole.
    let answer = host.get("/chunks/2000").await;
    assert!(answer.whole && answer.body.len() == 12_000);
}
