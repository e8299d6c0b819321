//! Shutdown: accepted requests are finished, within the drain limit.

use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::paths::{guest, scratch};

use crate::harness::{Fifo, serving, start_guest};

#[tokio::test]
async fn running_requests_are_finished_and_the_exit_code_is_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut host = start_guest("service", &[]).await;
        let (answer, ()) = tokio::join!(host.get("/sleep/700"), async {
            host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
            host.signal(signal);
        });
        assert_eq!((answer.text(), answer.header("connection")), ("slept", Some("close")));
        assert_eq!(host.ended().await.code(), Some(0));
        host.wait_for_line(|line| line["message"] == "stopped").await;
    }
}

#[tokio::test]
async fn readiness_ends_at_once_and_connections_are_accepted_for_a_grace() {
    let mut host = start_guest("service", &["--shutdown-grace", "1s"]).await;
    assert_eq!(host.admin("/ready").await.status, 200);
    host.signal(Signal::SIGTERM);
    host.wait_for_line(|line| line["message"] == "shutting down").await;
    let ready = host.admin("/ready").await;
    assert_eq!((ready.status, ready.text()), (503, r#"{"status":"unavailable","reason":"shutting down"}"#));
    assert_eq!(host.get("/hello/late").await.text(), "hello late");
    assert_eq!(host.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_kept_connection_gets_its_next_answer_and_is_told_that_it_is_the_last() {
    let mut host = start_guest("service", &[]).await;
    let mut stream = host.connect().await;
    let request = b"GET /hello/x HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write(request).await.unwrap();
    host.wait_for_line(|line| line["message"] == "request").await;
    host.signal(Signal::SIGTERM);
    host.wait_for_line(|line| line["message"] == "no longer accepting connections").await;
    stream.write(request).await.unwrap();
    let answers = stream.until_closed().await;
    assert_eq!(answers.matches("hello x").count(), 2, "{answers}");
    assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
    assert_eq!(host.ended().await.code(), Some(0));
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let mut host = start_guest("service", &["--drain-timeout", "30s"]).await;
    let mut stream = host.connect().await;
    stream.write(b"GET /hello/x HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    host.wait_for_line(|line| line["message"] == "request").await;
    let asked = std::time::Instant::now();
    host.signal(Signal::SIGTERM);
    assert_eq!(host.ended().await.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn what_takes_too_long_is_cut_off_after_the_limit() {
    let mut host = start_guest("service", &["--drain-timeout", "300ms"]).await;
    let mut stream = host.connect().await;
    stream.write(b"GET /sleep/20000 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
    host.signal(Signal::SIGTERM);
    assert_eq!(host.ended().await.code(), Some(0));
    assert_eq!(stream.until_closed().await, "");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut host = start_guest("service", &["--shutdown-grace", "1h"]).await;
    host.signal(Signal::SIGTERM);
    host.wait_for_line(|line| line["message"] == "shutting down").await;
    host.signal(Signal::SIGTERM);
    assert_eq!(host.ended().await.code(), Some(130));
}

/// Process 1 has no default signal handlers. The exit code shows that the host's own handlers ended it.
#[tokio::test]
async fn who_is_still_loading_ends_at_once_with_code_0() {
    let dir = scratch("shutdown-loading");
    let fifo = Fifo::new(&dir.join("app.wasm"));
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut host = serving(&dir.join("app.wasm")).spawn();
        let _unwritten = fifo.wait_for_reader();
        host.signal(signal);
        assert_eq!(host.ended().await.code(), Some(0), "{signal}");
    }
}

#[tokio::test]
async fn who_is_still_compiling_ends_with_code_0_and_leaves_nothing_half_written() {
    let cache = scratch("shutdown-compiling");
    let mut host = serving(&guest("service")).flag("--cache-dir", cache.to_str().unwrap()).spawn();
    host.wait_for_line(|line| line["message"] == "compiling").await;
    host.signal(Signal::SIGTERM);
    assert_eq!(host.ended().await.code(), Some(0));
    for entry in std::fs::read_dir(&cache).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension(), Some("cwasm".as_ref()), "{path:?}");
    }
}
