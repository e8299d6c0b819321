//! The end: nobody is cut off who was let in.

use std::{process::Stdio, time::Duration};

use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::{
    client::until_closed,
    harness::{Fifo, Host, guest, scratch},
};

#[tokio::test]
async fn running_requests_are_finished_and_the_exit_code_is_0() {
    for signal in ["TERM", "INT"] {
        let mut host = Host::start("service", &[]);
        let (answer, ()) = tokio::join!(host.get("/sleep/700"), async {
            host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
            host.signal(signal);
        });
        assert_eq!((answer.text(), answer.header("connection")), ("slept", "close"));
        assert_eq!(host.wait().code(), Some(0));
        host.wait_for_line(|line| line["message"] == "stopped");
    }
}

#[tokio::test]
async fn readiness_ends_at_once_and_connections_are_accepted_for_a_grace() {
    let mut host = Host::start("service", &["--shutdown-grace", "1s"]);
    assert_eq!(host.admin("/ready").await.status.as_u16(), 200);
    host.signal("TERM");
    host.wait_for_line(|line| line["message"] == "shutting down");
    let ready = host.admin("/ready").await;
    assert_eq!(
        (ready.status.as_u16(), ready.text()),
        (503, r#"{"status":"unavailable","reason":"shutting down"}"#)
    );
    assert_eq!(host.get("/hello/late").await.text(), "hello late");
    assert_eq!(host.wait().code(), Some(0));
}

#[tokio::test]
async fn a_kept_connection_gets_its_next_answer_and_is_told_that_it_is_the_last() {
    let mut host = Host::start("service", &[]);
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    let request = b"GET /hello/x HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.unwrap();
    host.wait_for_line(|line| line["message"] == "request");
    host.signal("TERM");
    host.wait_for_line(|line| line["message"] == "no longer accepting");
    stream.write_all(request).await.unwrap();
    let answers = until_closed(&mut stream).await;
    assert_eq!(answers.matches("hello x").count(), 2, "{answers}");
    assert_eq!(answers.matches("connection: close").count(), 1, "{answers}");
    assert_eq!(host.wait().code(), Some(0));
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let mut host = Host::start("service", &["--drain-timeout", "30s"]);
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(b"GET /hello/x HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    host.wait_for_line(|line| line["message"] == "request");
    let asked = std::time::Instant::now();
    host.signal("TERM");
    assert_eq!(host.wait().code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn what_takes_too_long_is_cut_off_after_the_limit() {
    let mut host = Host::start("service", &["--drain-timeout", "300ms"]);
    let mut stream = TcpStream::connect(host.address).await.unwrap();
    stream.write_all(b"GET /sleep/20000 HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
    host.signal("TERM");
    assert_eq!(host.wait().code(), Some(0));
    assert_eq!(until_closed(&mut stream).await, "");
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut host = Host::start("service", &["--shutdown-grace", "1h"]);
    host.signal("TERM");
    host.wait_for_line(|line| line["message"] == "shutting down");
    host.signal("TERM");
    assert_eq!(host.wait().code(), Some(130));
}

/// As process 1 it has no defaults to rely on: the code shows that the handlers are its own.
#[test]
fn who_is_still_loading_ends_at_once_with_code_0() {
    let dir = scratch("shutdown-loading");
    let fifo = Fifo::new(&dir.join("app.wasm"));
    for signal in ["TERM", "INT"] {
        let mut host = Host::begin(&dir.join("app.wasm"), &[], &[], Stdio::null());
        let _unwritten = fifo.wait_for_reader();
        host.signal(signal);
        assert_eq!(host.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn who_is_still_compiling_ends_with_code_0_and_leaves_nothing_half_written() {
    let cache = scratch("shutdown-compiling");
    let flags = ["--cache-dir", cache.to_str().unwrap()];
    let mut host = Host::begin(&guest("service"), &flags, &[], Stdio::null());
    host.wait_for_line(|line| line["message"] == "compiling");
    host.signal("TERM");
    assert_eq!(host.wait().code(), Some(0));
    for entry in std::fs::read_dir(&cache).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(path.extension(), Some("cwasm".as_ref()), "{path:?}");
    }
}
