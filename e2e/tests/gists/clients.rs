//! Clients that send well-formed requests and behave badly.

use std::fmt::Write as _;

use e2e::fake::ScriptedResponse;
use e2e::{Instances, Service, TIMEOUT};
use serde_json::json;
use testkit::until;

use super::expect::Expect as _;

suite!(
    pipelined_requests_are_answered_in_order,
    a_slow_head_is_cut_off_and_holds_nobody_up,
    clients_that_leave_midway_leave_nothing_behind,
    a_body_that_nobody_wants_is_no_trouble,
    an_old_client_is_served,
    request_ids_are_passed_on_or_made,
);

async fn pipelined_requests_are_answered_in_order(instances: Instances) {
    let service = Service::start(instances).await;
    for index in 0..10 {
        service.github.add_user(&format!("piped-{index}"), 1 + index, 0);
    }
    let mut connection = service.host.connect().await;
    let mut bytes = Vec::new();
    for index in 0..40 {
        bytes.extend(
            service
                .host
                .request(if index % 8 == 7 { "POST" } else { "GET" }, &format!("/piped-{}", index % 10))
                .bytes(),
        );
    }
    connection.write(&bytes).await.unwrap();
    for index in 0..40 {
        let reply = connection.response().await.unwrap();
        if index % 8 == 7 {
            reply.is_error(405, "Method Not Allowed");
            continue;
        }
        let reply = reply.is(200);
        assert_eq!(reply.ids().len(), 1 + index % 10, "request {index}");
        let text = reply.text();
        assert_eq!(text.matches("/piped-").count(), text.matches(&format!("/piped-{}/", index % 10)).count());
    }
}

async fn a_slow_head_is_cut_off_and_holds_nobody_up(instances: Instances) {
    let service = Service::with(instances, |options| options.flag("--header-timeout", "1s")).await;
    let mut slow = Vec::new();
    for _ in 0..50 {
        let mut connection = service.host.connect().await;
        connection.write(b"GET /octocat HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
        slow.push(connection);
    }
    for _ in 0..20 {
        service.host.get("/octocat").await.is(200);
    }
    for mut connection in slow {
        // Another late byte does not renew the time limit of the whole head.
        let _ = connection.write(b"y").await;
        assert!(connection.closed_within(TIMEOUT).await, "the connection of a slow head stays open");
    }
    service.host.get("/octocat").await.is(200);
}

async fn clients_that_leave_midway_leave_nothing_behind(instances: Instances) {
    let mut service = Service::start(instances).await;
    let item = |index: usize| json!({"id": format!("id{index}"), "html_url": "u", "files": {}, "created_at": "2020-01-01T00:00:00Z", "description": "d".repeat(20_000), "public": true});
    service
        .github
        .always("big", ScriptedResponse::json(json!((0..100).map(item).collect::<Vec<_>>()).to_string()));
    service.host.get("/big").await.is(200);
    for round in 0..150 {
        let mut connection = service.host.connect().await;
        connection.write(&service.host.request("GET", "/big").bytes()).await.unwrap();
        match round % 3 {
            0 => {}
            1 => drop(connection.read_some(1).await),
            _ => drop(connection.read_some(50_000).await),
        }
        if round % 2 == 0 { connection.reset() } else { drop(connection) }
    }
    let active = until("no request is active", async || {
        let metrics = service.host.samples().await;
        let active: f64 = metrics
            .0
            .iter()
            .filter(|sample| sample.name == "wasi_http_host_requests_active")
            .map(|sample| sample.value)
            .sum();
        (active < 0.5).then(|| metrics.has("wasi_http_host_requests_active"))
    })
    .await;
    assert!(active, "the host has no metric of active requests");
    assert_eq!(service.host.get("/big").await.is(200).ids().len(), 100);
    assert!(service.host.is_running());
    assert!(!service.host.log().contains("wasm trap"), "{}", service.host.log().tail());
}

async fn a_body_that_nobody_wants_is_no_trouble(instances: Instances) {
    let service = Service::start(instances).await;
    service.host.request("GET", "/octocat").body(vec![b'x'; 1_000]).send().await.is(200);
    service.host.request("DELETE", "/cache").body(vec![b'x'; 100_000]).send().await.is(200);
    // The body is announced and never sent.
    let mut connection = service.host.connect().await;
    connection
        .write(b"POST /octocat HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc")
        .await
        .unwrap();
    connection.response().await.unwrap().is_error(405, "Method Not Allowed");
    let mut connection = service.host.connect().await;
    connection
        .write(b"PUT /octocat HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .await
        .unwrap();
    connection.response().await.unwrap().is_error(405, "Method Not Allowed");
    let mut connection = service.host.connect().await;
    connection
        .write(
            b"GET /octocat HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nabc",
        )
        .await
        .unwrap();
    let _ = connection.finish().await;
    assert!(connection.closed_within(TIMEOUT).await);
    service.host.get("/health").await.is(200);
}

async fn an_old_client_is_served(instances: Instances) {
    let service = Service::start(instances).await;
    let mut connection = service.host.connect().await;
    connection.write(b"GET /health HTTP/1.0\r\n\r\n").await.unwrap();
    let answer = String::from_utf8(connection.drain(TIMEOUT).await).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.ends_with(r#"{"status":"healthy","service":"github-gists-api"}"#), "{answer}");
    // A target in absolute form, as a proxy sends it.
    let mut connection = service.host.connect().await;
    let mut request = String::new();
    write!(request, "GET http://example.test/octocat?page=1 HTTP/1.1\r\nHost: example.test\r\n\r\n").unwrap();
    connection.write(request.as_bytes()).await.unwrap();
    assert_eq!(connection.response().await.unwrap().is(200).ids().len(), 8);
}

async fn request_ids_are_passed_on_or_made(instances: Instances) {
    let service = Service::start(instances).await;
    // The host keeps a well-formed id of the client, and otherwise makes one.
    let reply = service.host.request("GET", "/health").header("x-request-id", "abc-123").send().await.is(200);
    assert!(reply.header("x-request-id").is_none_or(|id| id == "abc-123"));
    service.host.wait_for_line(|line| line.text.contains("abc-123")).await;
    for mad in ["a\tb", "<script>", "\"}{", &"x".repeat(5_000)] {
        let reply = service.host.request("GET", "/health").header("x-request-id", mad).send().await.is(200);
        assert!(reply.header("x-request-id").is_none_or(|id| id != mad), "{mad}");
    }
    assert!(!service.host.log().contains("<script>"));
}
