//! Ten thousand requests of random bytes, malformed heads, and heads over the limit.

use std::time::Duration;

use e2e::{Instances, Service, TIMEOUT};
use fastrand::Rng;
use futures::future::join_all;

suite!(ten_thousand_random_requests, malformed_heads_are_refused, oversized_heads_are_refused);

const REQUESTS: u64 = 10_000;
const LANES: u64 = 25;

/// Up to `most` random bytes.
fn noise(random: &mut Rng, most: usize) -> Vec<u8> {
    let mut bytes = vec![0; random.usize(..most)];
    random.fill(&mut bytes);
    bytes
}

/// A request: from random bytes only to one wrong byte.
fn request(random: &mut Rng) -> Vec<u8> {
    let templates: [&[u8]; 6] = [
        b"GET /octocat?page=1&per_page=30 HTTP/1.1\r\nHost: x\r\nAccept: application/problem+json;q=0.5, */*\r\n\r\n",
        b"GET /users/octocat/gists?use_cache=true HTTP/1.1\r\nHost: x\r\nIf-None-Match: W/\"abc\", \"d\"\r\n\r\n",
        b"HEAD /cache/stats HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n",
        b"POST /cache HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"DELETE /octocat/ HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"GET /metrics HTTP/1.0\r\nHost: x\r\n\r\n",
    ];
    match random.u8(..4) {
        0 => noise(random, 300),
        1 => {
            // A target of random bytes. It is percent-encoded, so that it reaches the component.
            let target: String = noise(random, 40).iter().map(|byte| format!("%{byte:02X}")).collect();
            let query: String = noise(random, 20).iter().map(|byte| format!("%{byte:02x}")).collect();
            format!("GET /{target}?page={query} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()
        }
        kind => {
            let mut bytes = templates[random.usize(..templates.len())].to_vec();
            for _ in 0..=random.u8(..if kind == 2 { 2 } else { 12 }) {
                let at = random.usize(..bytes.len());
                match random.u8(..3) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes.truncate(at.max(1)),
                    _ => bytes.insert(at, random.u8(..)),
                }
            }
            bytes
        }
    }
}

async fn ten_thousand_random_requests(instances: Instances) {
    let mut service = Service::start(instances).await;
    let answered = std::cell::Cell::new(0_u32);
    let (host, count) = (&service.host, &answered);
    join_all((0..LANES).map(|lane| async move {
        let mut random = Rng::with_seed(lane);
        for _ in 0..REQUESTS / LANES {
            let bytes = request(&mut random);
            let mut connection = host.connect().await;
            // The host may refuse the request and close before everything is written.
            if connection.write(&bytes).await.is_ok() {
                let _ = connection.finish().await;
            }
            let answer = tokio::time::timeout(TIMEOUT, connection.drain(TIMEOUT)).await;
            let answer =
                answer.unwrap_or_else(|_| panic!("no end after {:?}", String::from_utf8_lossy(&bytes)));
            if !answer.is_empty() {
                let shown = String::from_utf8_lossy(&answer[..answer.len().min(300)]).into_owned();
                let status = shown
                    .strip_prefix("HTTP/1.")
                    .and_then(|rest| rest.get(2..5))
                    .and_then(|status| status.parse::<u16>().ok());
                let known = [
                    200, 204, 304, 307, 400, 401, 404, 405, 408, 411, 413, 414, 417, 422, 431, 501, 503, 505,
                ];
                assert!(
                    status.is_some_and(|status| known.contains(&status)),
                    "{:?} → {shown:?}",
                    String::from_utf8_lossy(&bytes)
                );
                count.set(count.get() + 1);
            }
        }
    }))
    .await;
    assert!(answered.get() > 3_000, "only {} were answered at all", answered.get());
    assert!(service.host.is_running());
    service.host.get("/health").await.is(200);
    service.host.get("/octocat").await.is(200);
    assert!(
        !service.host.log().contains("wasm trap") && !service.host.log().contains("panicked"),
        "{}",
        service.host.log().tail()
    );
    let metrics = service.host.samples().await;
    let traps: f64 =
        metrics.0.iter().filter(|sample| sample.name.contains("trap")).map(|sample| sample.value).sum();
    assert!(traps.abs() < f64::EPSILON, "{traps} traps");
}

async fn malformed_heads_are_refused(instances: Instances) {
    let service = Service::start(instances).await;
    for head in [
        "GET\r\n\r\n",
        "GET /health\r\n\r\n",
        "GET /health HTTP/9.9\r\n\r\n",
        "get /health http/1.1\r\n\r\n",
        "GET health HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a b HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost x\r\n\r\n",
        "GET /health HTTP/1.1\r\n: x\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nA B: c\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: x\r\nA: \0\r\n\r\n",
        "POST /cache HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "POST /cache HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST /cache HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "POST /cache HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnot a frame at all, only noise that goes on for a while",
        "GET /\u{e9}\u{0}x HTTP/1.1\r\nHost: x\r\n\r\n",
    ] {
        let mut connection = service.host.connect().await;
        let _ = connection.write(head.as_bytes()).await;
        let _ = connection.finish().await;
        let answer = tokio::time::timeout(TIMEOUT, connection.drain(TIMEOUT))
            .await
            .unwrap_or_else(|_| panic!("no end after {head:?}"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(!answer.starts_with("HTTP/1.1 2"), "{head:?} → {answer:?}");
        service.host.get("/health").await.is(200);
    }
}

async fn oversized_heads_are_refused(instances: Instances) {
    let service = Service::with(instances, |options| options.flag("--max-header-bytes", "16384")).await;
    let long = "x".repeat(200_000);
    let many: String = (0..5_000).map(|number| format!("h{number}: v\r\n")).collect();
    for head in [
        format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /octocat?{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /octocat HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"),
        format!("GET /octocat HTTP/1.1\r\nHost: x\r\n{many}\r\n"),
        format!("GET /octocat HTTP/1.1\r\nHost: {long}\r\n\r\n"),
        long.clone(),
    ] {
        let mut connection = service.host.connect().await;
        let _ = connection.write(head.as_bytes()).await;
        let answer = tokio::time::timeout(TIMEOUT, connection.drain(Duration::from_secs(20)))
            .await
            .unwrap_or_else(|_| panic!("no end"));
        let answer = String::from_utf8_lossy(&answer).into_owned();
        // The host does not read the rest, so a reset may overtake the response.
        assert!(
            answer.is_empty()
                || ["HTTP/1.1 431", "HTTP/1.1 414", "HTTP/1.1 400"]
                    .iter()
                    .any(|start| answer.starts_with(start)),
            "{answer:?}"
        );
    }
    assert_eq!(service.github.journal().total(), 0);
    service.host.get("/octocat").await.is(200);
}
