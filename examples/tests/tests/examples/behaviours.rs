//! The behaviours that each example has.

use testkit::ports::listen;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::Example;

each_example!(
    answers_by_its_path,
    streams_a_large_body_both_ways,
    streams_what_it_makes_line_by_line,
    fetches_what_it_is_granted_and_nothing_else,
    reads_environment_settings_and_stores,
    writes_to_the_hosts_log,
    answers_many_at_once,
    goes_on_after_a_failure_of_its_own,
);

async fn answers_by_its_path(example: &Example) {
    let host = example.start().await;
    let reply = host.get("/").await;
    assert_eq!((reply.status, reply.text()), (200, example.greeting));
    assert_eq!(reply.header("content-type"), Some("text/plain"));
    assert!(reply.header("x-request-id").is_some());
    let reply = host.get("/nothing/of/the/kind?at=all").await;
    assert_eq!((reply.status, reply.text()), (404, "no such behaviour"));
    // The head of the response without its body.
    let reply = host.request("HEAD", "/").send().await;
    assert_eq!((reply.status, reply.body.len()), (200, 0));
}

async fn streams_a_large_body_both_ways(example: &Example) {
    let host = example.start().await;
    let body: Vec<u8> =
        (0..3_000_000_u32).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let reply = host
        .request("POST", "/echo")
        .header("content-type", "application/x-own")
        .body(body.clone())
        .send()
        .await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/x-own")));
    assert!(reply.body == body, "{} bytes came back of {}", reply.body.len(), body.len());
}

async fn streams_what_it_makes_line_by_line(example: &Example) {
    let host = example.start().await;
    let reply = host.get("/lines/2000").await;
    let wanted: String = (0..2000).map(|line| format!("line {line}\n")).collect();
    assert_eq!(reply.header("transfer-encoding"), Some("chunked"));
    assert!(reply.status == 200 && reply.text() == wanted);
}

async fn fetches_what_it_is_granted_and_nothing_else(example: &Example) {
    let (granted, other) = (upstream().await, upstream().await);
    let host = example.start_with(|options| options.setting("upstream", &granted)).await;
    let reply = host.get(&format!("/relay?url={granted}/some/path")).await;
    assert_eq!((reply.status, reply.text()), (200, "200 upstream says GET /some/path"));
    // A body that needs fresh memory from the allocator or the garbage collector.
    let reply = host.get(&format!("/relay?url={granted}{LARGE}")).await;
    assert!(reply.status == 200 && reply.text().len() == "200 ".len() + LARGE_BYTES, "{}", reply.status);
    for url in [other, "http://169.254.169.254/latest/meta-data/".to_owned()] {
        let reply = host.get(&format!("/relay?url={url}")).await;
        assert_eq!(reply.status, 502, "{url}: {}", reply.text());
        let said = reply.text();
        assert!(example.denied.iter().any(|denied| said.contains(denied)), "{url}: {said}");
        host.wait_for_line(|line| line.get("reason").is_some_and(|reason| reason.contains(origin(&url))))
            .await;
    }
}

/// The host and port of a URL.
fn origin(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}

async fn reads_environment_settings_and_stores(example: &Example) {
    let host = example.start_with(|options| options.setting("greeting", "from outside")).await;
    assert_eq!(host.get("/environment").await.text(), "Good morning");
    assert_eq!(host.get("/setting").await.text(), "from outside");
    // Values in the store outlive instances.
    for visits in 1..=3 {
        assert_eq!(host.get("/count").await.text(), visits.to_string());
    }
}

async fn writes_to_the_hosts_log(example: &Example) {
    let host = example.start().await;
    assert_eq!(host.get("/log").await.text(), "logged");
    for (stream, text) in [("stdout", "said on stdout"), ("stderr", "said on stderr")] {
        let line = host.wait_for_line(|line| line["message"] == text && line["stream"] == stream).await;
        assert_eq!(line["component"], example.name);
    }
}

async fn answers_many_at_once(example: &Example) {
    let host = example.start().await;
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..50 {
        asking.spawn(host.request("GET", "/sleep/200").send());
    }
    while let Some(reply) = asking.join_next().await {
        let reply = reply.unwrap();
        assert_eq!((reply.status, reply.text()), (200, "slept"));
    }
    let made = host.samples().await.sum("wasi_http_host_instances_created_total", &[]);
    match example.kind {
        "proxy" => assert!(made >= 50.0, "a proxy has an instance for each request: {made}"),
        _ => assert!(made < 50.0, "requests to a service share instances: {made}"),
    }
}

async fn goes_on_after_a_failure_of_its_own(example: &Example) {
    let host = example.start().await;
    for _ in 0..3 {
        // An engine may respond for its script, and break the response off.
        let failed = host.request("GET", "/fail").try_send().await;
        assert!(failed.as_ref().is_ok_and(|reply| reply.status == 500) || failed.is_err(), "{failed:?}");
        assert_eq!(host.get("/").await.text(), example.greeting);
    }
    host.wait_for_line(|line| line.text.contains("on purpose")).await;
}

/// A path of [`upstream`] with a large response, and its length.
const LARGE: &str = "/large";
const LARGE_BYTES: usize = 5_000_000;

/// The URL of a server that responds with the method and the path of the request.
async fn upstream() -> String {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|n| n > 0) {}
                let line = String::from_utf8_lossy(&head);
                let what = line.split(" HTTP/").next().unwrap_or_default();
                let body = match what.ends_with(LARGE) {
                    true => "x".repeat(LARGE_BYTES),
                    false => format!("upstream says {what}"),
                };
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                // The client may have gone.
                let _ = stream.write_all(answer.as_bytes()).await;
            });
        }
    });
    format!("http://{address}")
}
