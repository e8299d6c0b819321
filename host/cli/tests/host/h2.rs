//! HTTP/2 without TLS (prior knowledge): well-behaved clients and hostile ones.

use std::{process::Command, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderMap, Request};
use http_body::Frame as BodyFrame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use nix::sys::signal::Signal;
use testkit::{DEADLINE, Host, http::http2};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::{
    frames::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, Frame, GOAWAY, HEADERS, PING,
        PROTOCOL_ERROR, Peer, REFUSED_STREAM, RST_STREAM, SETTINGS, block, frame, get,
    },
    harness::start_guest,
};

async fn connect<B>(host: &Host) -> http2::Client<B>
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static,
{
    http2::connect(TcpStream::connect(host.address()).await.unwrap()).await
}

fn request(path: &str) -> Request<Full<Bytes>> {
    http2::get(&format!("http://name.test{path}"))
}

#[tokio::test]
async fn one_connection_carries_many_requests_at_once() {
    let host = start_guest("service", &["--max-concurrent-requests", "300"]).await;
    let sender = connect(&host).await;
    let answers = join_all((0..250).map(|at| {
        let mut sender = sender.clone();
        async move { http2::send(&mut sender, request(&format!("/hello/{at}"))).await.unwrap() }
    }));
    for (at, answer) in answers.await.into_iter().enumerate() {
        assert_eq!((answer.status, answer.text()), (200, &*format!("hello {at}")));
    }
    assert_eq!(host.metric("wasi_http_host_connections_total").await, 1.0);
    // A body that is larger than a frame is complete, whether the component has it in memory or streams it.
    for path in ["/bytes/300000", "/bytes/3000000"] {
        let answer = http2::send(&mut sender.clone(), request(path)).await.unwrap();
        assert!(
            answer.complete && answer.body.len().to_string() == path[7..],
            "{path}: {}",
            answer.body.len()
        );
    }
}

#[tokio::test]
async fn curl_is_answered_over_either_protocol() {
    let host = start_guest("service", &[]).await;
    for (flag, version) in [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1"), ("--http2", "1.1")] {
        let url = format!("http://{}/count-body", host.address());
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--noproxy",
                "*",
                flag,
                "--data",
                "abc",
                "--write-out",
                " %{http_version}",
                &url,
            ])
            .output()
            .expect("curl runs: apt-get install curl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        // `--http2` asks for an upgrade, which the host does not offer.
        assert_eq!(text, format!("3 {version}"), "{flag}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[tokio::test]
async fn bodies_and_trailers_go_both_ways() {
    let host = start_guest("service", &[]).await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-after", "all".parse().unwrap());
    let frames = [BodyFrame::data(Bytes::from_static(b"body")), BodyFrame::trailers(trailers.clone())];
    let body = StreamBody::new(futures::stream::iter(frames.map(Ok::<_, std::io::Error>)));
    let mut sender = connect(&host).await;
    let sent = Request::post("http://name.test/trailers").body(body).unwrap();
    let response = timeout(DEADLINE, sender.send_request(sent)).await.unwrap().unwrap();
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers(), Some(&trailers));
    assert_eq!(collected.to_bytes(), "1 received");

    let mut sender = connect(&host).await;
    let body: Bytes = (0..2 << 20).map(|at: u32| (at % 251) as u8).collect();
    let sent = Request::post("http://name.test/echo").body(Full::new(body.clone())).unwrap();
    let answer = http2::send(&mut sender, sent).await.unwrap();
    assert!(answer.complete && answer.body == body);
}

#[tokio::test]
async fn a_draining_host_finishes_every_stream() {
    let mut host = start_guest("service", &[]).await;
    let sender = connect(&host).await;
    let running = join_all((0..40).map(|_| {
        let mut sender = sender.clone();
        async move { http2::send(&mut sender, request("/sleep/5000")).await.unwrap() }
    }));
    let running = tokio::spawn(running);
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 40.0).await;
    host.signal(Signal::SIGTERM);
    assert!(running.await.unwrap().iter().all(|answer| answer.complete && answer.text() == "slept"));
    // The host refuses further streams (GOAWAY), and closes the connection behind the last one.
    assert_eq!(host.ended().await.code(), Some(0));
    assert!(sender.clone().send_request(request("/hello/late")).await.is_err());
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_the_others_served() {
    let host = start_guest("service", &["--max-concurrent-requests", "1000"]).await;
    let mut peer = Peer::connect(&host, &[]).await;
    // 256 streams may be open at once: they wait for their bodies.
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/count-body")];
    for at in 0..300 {
        peer.send(&frame(HEADERS, END_HEADERS, 2 * at + 1, &block(&fields))).await;
    }
    for _ in 0..44 {
        let refused = peer.verdict().await.expect("the connection stays");
        assert_eq!((refused.kind, refused.error()), (RST_STREAM, Some(REFUSED_STREAM)), "{refused:?}");
        assert!(refused.stream > 512, "{refused:?}");
    }
    peer.send(&frame(DATA, END_STREAM, 1, b"abc")).await;
    let answer = peer.verdict().await.unwrap();
    assert!(answer.is_ok() && answer.stream == 1, "{answer:?}");
    drop(peer);
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 0.0).await;
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused_on_its_stream() {
    let host = start_guest("service", &["--max-header-bytes", "8KiB"]).await;
    let mut peer = Peer::connect(&host, &[]).await;
    let large = "x".repeat(12_000);
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "a"),
        (":path", "/hello/x"),
        ("x-large", &large),
    ];
    peer.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))).await;
    let refused = peer.verdict().await.expect("the connection stays");
    assert!(refused.stream == 1 && !refused.is_ok(), "{refused:?}");
    peer.send(&get(3, "/hello/x")).await;
    loop {
        let answer = peer.verdict().await.expect("the connection stays");
        if answer.stream == 3 {
            assert!(answer.is_ok(), "{answer:?}");
            break;
        }
    }
}

#[tokio::test]
async fn floods_end_the_connection_and_nobody_elses() {
    let host =
        start_guest("service", &["--max-concurrent-requests", "100", "--body-idle-timeout", "1s"]).await;
    let resets: Vec<u8> = (0..20_000u32)
        .flat_map(|at| {
            [get(2 * at + 1, "/sleep/500"), frame(RST_STREAM, 0, 2 * at + 1, &8u32.to_be_bytes())].concat()
        })
        .collect();
    let endless = std::iter::once(frame(HEADERS, 0, 1, &block(&[(":method", "GET")])))
        .chain((0..20_000).map(|at| frame(CONTINUATION, 0, 1, &block(&[("x", &at.to_string())]))))
        .flatten()
        .collect();
    let empty = std::iter::once(get(1, "/hello/x"))
        .chain([frame(
            HEADERS,
            END_HEADERS,
            3,
            &block(&[
                (":method", "POST"),
                (":scheme", "http"),
                (":authority", "a"),
                (":path", "/count-body"),
            ]),
        )])
        .chain((0..200_000).map(|_| frame(DATA, 0, 3, b"")))
        .flatten()
        .collect();
    for (name, flood) in [("resets", resets), ("a head without end", endless), ("empty data", empty)] {
        let mut peer = Peer::connect(&host, &[]).await;
        // The host may close the connection before it has read everything.
        let (mut reading, mut writing) = peer.0.into_split();
        let writing = tokio::spawn(async move { writing.write_all(&flood).await.map(|()| writing) });
        let mut seen = Vec::new();
        let read = reading.read_to_end(&mut seen);
        let _ = timeout(DEADLINE, read).await.unwrap_or_else(|_| panic!("{name}: the connection stays"));
        drop(writing.await);
        // The host sends GOAWAY. If unread bytes turned the close into a reset, GOAWAY is lost.
        let goaway = [GOAWAY, 0, 0, 0, 0, 0];
        if let Some(at) = seen.windows(goaway.len()).rposition(|window| window == goaway) {
            let code = u32::from_be_bytes(seen[at + 10..at + 14].try_into().unwrap());
            assert!([ENHANCE_YOUR_CALM, PROTOCOL_ERROR].contains(&code), "{name}: {code}");
        }
        peer = Peer::connect(&host, &[]).await;
        peer.send(&get(1, "/hello/other")).await;
        assert!(peer.verdict().await.unwrap().is_ok(), "{name}");
    }
    // Each of these frames wants a response, which the client does not read.
    for (name, asking) in
        [("pings", frame(PING, 0, 0, &[0; 8])), ("settings", frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0]))]
    {
        let mut peer = Peer::connect(&host, &[]).await;
        let many = asking.repeat(10_000);
        let flood = async { while peer.0.write_all(&many).await.is_ok() {} };
        timeout(DEADLINE, flood).await.unwrap_or_else(|_| panic!("{name}: the connection stays"));
    }
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 0.0).await;
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

/// Reads until the host closes the connection.
async fn ended(peer: &mut Peer) {
    while matches!(peer.0.read(&mut [0; 4096]).await, Ok(1..)) {}
}

#[tokio::test]
async fn resets_of_requests_that_are_being_served_end_the_connection() {
    let host = start_guest("service", &["--max-concurrent-requests", "10000"]).await;
    let mut peer = Peer::connect(&host, &[]).await;
    let mut closed = false;
    for batch in 0..20 {
        let streams = (0..100).map(|at| 2 * (100 * batch + at) + 1);
        let requests: Vec<u8> = streams.clone().flat_map(|stream| get(stream, "/sleep/60000")).collect();
        closed = peer.0.write_all(&requests).await.is_err();
        if !closed {
            closed = tokio::select! {
                () = ended(&mut peer) => true,
                () = host.wait_for_metric("wasi_http_host_requests_active", |active| active == 100.0) => false,
            };
        }
        if closed {
            assert!(batch > 2, "256 resets are allowed");
            break;
        }
        let resets = streams.flat_map(|stream| frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        peer.send(&resets.collect::<Vec<_>>()).await;
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 0.0).await;
    }
    assert!(closed, "the connection stays");
    assert_eq!(host.get("/hello/other").await.text(), "hello other");
}

#[tokio::test]
async fn a_client_that_opens_no_window_holds_a_stream_for_a_while_only() {
    let flags =
        ["--body-idle-timeout", "500ms", "--max-concurrent-requests", "6", "--max-queued-requests", "0"];
    // With a window of one byte, the host can finish a small response only. With none, the host can finish no response.
    for window in [0, 1] {
        let host = start_guest("service", &flags).await;
        let mut peer = Peer::connect(&host, &[(4, window)]).await;
        let paths = ["/bytes/1000", "/bytes/16000", "/bytes/900000", "/chunks/100000", "/endless"];
        for (at, path) in paths.into_iter().enumerate() {
            peer.send(&get(u32::try_from(2 * at + 1).unwrap(), path)).await;
        }
        let mut ended = Vec::new();
        while ended.len() < if window == 0 { 5 } else { 4 } {
            let frame = peer.verdict().await.expect("the connection stays");
            match frame.kind {
                RST_STREAM => ended.push(frame.stream),
                _ => assert!(frame.is_ok(), "{frame:?}"),
            }
        }
        // The connection still works.
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 0.0).await;
        peer.send(&get(11, "/status/204")).await;
        let answer = peer.verdict().await.unwrap();
        assert!(answer.stream == 11 && answer.kind == HEADERS, "{answer:?}");
        // A response that the client did not take is logged as aborted.
        for path in paths {
            let line = host.wait_for_line(|line| line["message"] == "request" && line["path"] == path).await;
            let is_whole = window == 1 && path == "/bytes/1000";
            assert_eq!(line["aborted"] == true, !is_whole, "{window}: {line}");
        }
    }
}

/// A name, the fields of a request, and whether the host accepts the request.
type Case = (&'static str, Vec<(&'static str, &'static str)>, bool);

fn cases() -> Vec<Case> {
    const METHOD: (&str, &str) = (":method", "GET");
    const SCHEME: (&str, &str) = (":scheme", "http");
    const AUTHORITY: (&str, &str) = (":authority", "a");
    const PATH: (&str, &str) = (":path", "/hello/hidden");
    let with = |more: &[(&'static str, &'static str)]| [&[METHOD, SCHEME, AUTHORITY, PATH], more].concat();
    vec![
        ("as it should be", vec![METHOD, SCHEME, AUTHORITY, (":path", "/hello/good")], true),
        ("another scheme", vec![METHOD, (":scheme", "https"), AUTHORITY, (":path", "/hello/good")], true),
        ("host in place of authority", vec![METHOD, SCHEME, (":path", "/hello/good"), ("host", "a")], true),
        ("host as well", vec![METHOD, SCHEME, AUTHORITY, (":path", "/hello/good"), ("host", "A")], true),
        ("another host", with(&[("host", "b")]), false),
        ("two hosts", with(&[("host", "a"), ("host", "a")]), false),
        ("a user", vec![METHOD, SCHEME, (":authority", "u:p@a"), PATH], false),
        ("no method", vec![SCHEME, AUTHORITY, PATH], false),
        ("no scheme", vec![METHOD, AUTHORITY, PATH], false),
        ("no path", vec![METHOD, SCHEME, AUTHORITY], false),
        ("an empty path", vec![METHOD, SCHEME, AUTHORITY, (":path", "")], false),
        ("a path without slash", vec![METHOD, SCHEME, AUTHORITY, (":path", "hello/hidden")], false),
        ("a path of two words", vec![METHOD, SCHEME, AUTHORITY, (":path", "/hello/hidden HTTP/1.1")], false),
        ("two paths", vec![METHOD, SCHEME, AUTHORITY, PATH, PATH], false),
        ("two methods", vec![METHOD, METHOD, SCHEME, AUTHORITY, PATH], false),
        ("two authorities", vec![METHOD, SCHEME, AUTHORITY, AUTHORITY, PATH], false),
        (
            "a line in the method",
            vec![(":method", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"), SCHEME, AUTHORITY, PATH],
            false,
        ),
        ("a path behind a field", vec![METHOD, SCHEME, AUTHORITY, ("x", "1"), PATH], false),
        ("a pseudo-field of nobody's", with(&[(":forged", "1")]), false),
        ("a status", with(&[(":status", "200")]), false),
        ("a protocol", with(&[(":protocol", "websocket")]), false),
        ("capitals in a name", with(&[("X-Forged", "1")]), false),
        ("an empty name", with(&[("", "1")]), false),
        ("a space in a name", with(&[("x forged", "1")]), false),
        ("a colon in a name", with(&[("x:forged", "1")]), false),
        ("a line in a name", with(&[("x: 1\r\nforged", "1")]), false),
        ("a line in a value", with(&[("x", "1\r\nforged: 1")]), false),
        ("a line feed in a value", with(&[("x", "1\nforged: 1")]), false),
        ("a zero in a value", with(&[("x", "1\0")]), false),
        ("connection", with(&[("connection", "close")]), false),
        ("keep-alive", with(&[("keep-alive", "timeout=5")]), false),
        ("proxy-connection", with(&[("proxy-connection", "close")]), false),
        ("transfer-encoding", with(&[("transfer-encoding", "chunked")]), false),
        ("upgrade", with(&[("upgrade", "h2c")]), false),
        ("te", with(&[("te", "gzip")]), false),
        ("a length without a body", with(&[("content-length", "3")]), false),
        ("a length that is none", with(&[("content-length", "+0")]), false),
        ("a tunnel", vec![(":method", "CONNECT"), (":authority", "a:1")], false),
    ]
}

#[tokio::test]
async fn fields_that_another_protocol_would_take_for_more_are_refused() {
    let host = start_guest("service", &[]).await;
    for (name, fields, good) in cases() {
        let mut peer = Peer::connect(&host, &[]).await;
        peer.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &block(&fields))).await;
        let verdict = peer.verdict().await;
        let served = verdict.as_ref().is_some_and(Frame::is_ok);
        assert_eq!(served, good, "{name}: {verdict:?}");
    }
    // A body that is longer or shorter than its `Content-Length` is an error.
    for (length, data) in [("3", "abcd"), ("3", "ab"), ("0", "a"), ("99", "")] {
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", "/count-body"),
            ("content-length", length),
        ];
        let mut peer = Peer::connect(&host, &[]).await;
        peer.send(&frame(HEADERS, END_HEADERS, 1, &block(&fields))).await;
        peer.send(&frame(DATA, END_STREAM, 1, data.as_bytes())).await;
        let verdict = peer.verdict().await.unwrap();
        assert_eq!(
            (verdict.kind, verdict.error()),
            (RST_STREAM, Some(PROTOCOL_ERROR)),
            "{length} {data:?}: {verdict:?}"
        );
    }
    host.get("/hello/marker").await;
    host.wait_for_line(|line| line["path"] == "/hello/marker").await;
    for line in host.lines().iter().filter(|line| line["message"] == "request" && line["status"] == 200) {
        assert!(line["path"] != "/hello/hidden", "{line}");
    }
}

#[tokio::test]
async fn pings_do_not_keep_a_connection_that_asks_nothing() {
    let host = start_guest("service", &["--keep-alive-timeout", "1s"]).await;
    let mut peer = Peer::connect(&host, &[]).await;
    let ping = async {
        while peer.0.write_all(&frame(PING, 0, 0, &[0; 8])).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, ping).await.expect("the connection ends");
}
