//! Background tasks: a component's tasks continue after its response, within limits.

use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{Host, ports::listen, until};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::start_guest;

async fn wait_until_done(host: &Host) {
    until("the task ends", async || (host.get("/get/background").await.text() == "done").then_some(())).await;
}

#[tokio::test]
async fn a_task_outlives_its_response_even_in_an_instance_of_one_request() {
    for flags in [&[][..], &["--instance-max-requests", "1"]] {
        let host = start_guest("service", flags).await;
        assert_eq!(host.get("/background/100").await.text(), "started");
        wait_until_done(&host).await;
    }
}

#[tokio::test]
async fn a_task_outlives_the_client_that_caused_it() {
    let host = start_guest("service", &[]).await;
    let mut stream = host.connect().await;
    stream.write(b"GET /slow-background/200 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    host.wait_for_line(|line| line["message"] == "begun").await;
    drop(stream);
    wait_until_done(&host).await;
}

/// A service may have moved the request into a task that other requests wait for, as gists does. The host cannot tell.
#[tokio::test]
async fn what_a_service_asks_of_others_outlives_the_client_that_caused_it() {
    let (upstream, address) = listen().await;
    let host = start_guest("service", &["--allowed-outbound-host", &format!("http://{address}")]).await;
    let mut client = host.connect().await;
    client.write(format!("GET /fetch?{address} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let (mut asked, _) = upstream.accept().await.unwrap();
    assert!(asked.read(&mut [0; 1024]).await.unwrap() > 0, "the request has come");
    drop(client);
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 0.0).await;
    asked.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    let answered = "wasi_http_host_outbound_first_byte_seconds_count";
    until("the component has the answer", async || {
        host.admin("/metrics").await.text().contains(answered).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_task_without_end_is_ended() {
    let host = start_guest("service", &["--background-timeout", "200ms"]).await;
    host.get("/background/3600000").await;
    let ended =
        "wasi_http_host_instances_ended_total{component=\"guest_service\",reason=\"background_timeout\"}";
    host.wait_for_metric(ended, |ended| ended == 1.0).await;
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

#[tokio::test]
async fn a_task_that_spins_is_ended() {
    let host = start_guest("service", &["--threads", "1", "--background-timeout", "300ms"]).await;
    assert_eq!(host.get("/spin-later/50").await.text(), "started");
    let ended =
        "wasi_http_host_instances_ended_total{component=\"guest_service\",reason=\"background_timeout\"}";
    host.wait_for_metric(ended, |ended| ended == 1.0).await;
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

#[tokio::test]
async fn the_end_of_the_host_waits_for_tasks() {
    let mut host = start_guest("service", &[]).await;
    host.get("/background/700").await;
    let asked = std::time::Instant::now();
    host.signal(Signal::SIGTERM);
    assert_eq!(host.ended().await.code(), Some(0));
    assert!(asked.elapsed() >= Duration::from_millis(500), "{:?}", asked.elapsed());
    assert!(host.lines().iter().all(|line| line["level"] != "ERROR"), "{:#?}", host.lines());
}
