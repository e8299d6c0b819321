//! The cache from the operator's side: flags, the manifest, the admin port, metrics and spans.

use testkit::{
    Host,
    http::{Request, Response},
    otlp::{Collector, SpanKind},
    paths::{guest, scratch},
};

use super::{FRESH, get, number, start, status};
use crate::harness::{serve_fails, start_app, start_guest};

const SUM: &str = "wasi_http_host_memory_bound_bytes";

fn outcome(outcome: &str) -> String {
    format!(
        "wasi_http_host_response_cache_requests_total{{component=\"guest_service\",outcome=\"{outcome}\"}}"
    )
}

#[tokio::test]
async fn there_is_no_cache_unless_a_flag_says_so() {
    let host = start_guest("service", &["--threads", "1", "--max-instances", "1"]).await;
    for served in [1, 2] {
        let answer = get(&host, "/answer/", FRESH).await;
        assert_eq!((number(&answer), status(&answer)), (served, "-"));
    }
    assert_eq!(host.admin("/response-cache").await.status, 404);
    assert_eq!(host.metric(&outcome("miss")).await, 0.0);
    let without = host.metric(SUM).await;

    let host = start(&["--max-queued-requests", "0"]).await;
    for cache in ["wasi-http-host; fwd=uri-miss; stored", "wasi-http-host; hit; ttl="] {
        let answer = get(&host, "/answer/", FRESH).await;
        assert!(number(&answer) == 1 && status(&answer).starts_with(cache), "{}", status(&answer));
    }
    let line = host.wait_for_line(|line| line.message_contains("the process takes at most")).await;
    assert_eq!(line["response_cache_mib"], 5, "the capacity, and what the cache takes beside it");
    assert!(without > 0.0);
    let message = serve_fails(64, &["app.wasm", "--response-cache", "1KiB"], &[]);
    assert!(message.contains("--response-cache: 1KiB is less than 1MiB"), "{message}");
}

#[tokio::test]
async fn the_sum_of_all_limits_has_the_cache() {
    let sum = async |flags: &[&str]| {
        let few = ["--threads", "1", "--max-instances", "1", "--max-queued-requests", "0"];
        start_guest("service", &[&few[..], flags].concat()).await.metric(SUM).await
    };
    let (without, with) = (sum(&[]).await, sum(&["--response-cache", "60MiB"]).await);
    assert_eq!(with - without, f64::from(64 << 20));
}

#[tokio::test]
async fn a_manifest_may_say_that_nothing_is_cached() {
    let path = scratch("response-cache-manifest").join("spin.toml");
    let service = guest("service");
    let text = format!(
        "spin_manifest_version = 2\n[application]\nname = \"app\"\n\
         [[trigger.http]]\nroute = \"/...\"\ncomponent = \"cached\"\n\
         [[trigger.http]]\nroute = \"/answer/not\"\ncomponent = \"not\"\n\
         [component.cached]\nsource = {service:?}\n\
         [component.not]\nsource = {service:?}\n\
         [component.not.tool.wasi-http-host]\nresponse-cache = false\n"
    );
    std::fs::write(&path, text).unwrap();
    let flags = ["--threads", "1", "--max-instances", "1", "--response-cache", "1MiB"];
    let host = start_app(&path, &flags, &[]).await;
    for served in [1, 2] {
        assert_eq!(number(&get(&host, "/answer/cached", FRESH).await), 1);
        let answer = get(&host, "/answer/not", FRESH).await;
        assert_eq!((number(&answer), status(&answer)), (served, "-"));
    }
    let purged = admin(&host, "POST", "/response-cache/purge?component=not").await;
    assert_eq!(
        (purged.status, purged.text()),
        (404, r#"{"detail":"no component \"not\" whose responses are cached"}"#)
    );
}

/// Sends a request to the admin port.
async fn admin(host: &Host, method: &str, target: &str) -> Response {
    Request::new(method, target).to(host.admin_address()).send().await
}

async fn purge(host: &Host, query: &str) -> String {
    let answer = admin(host, "POST", &format!("/response-cache/purge{query}")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().to_owned()
}

#[tokio::test]
async fn the_operator_sees_the_cache_and_purges_it() {
    let host = start(&[]).await;
    let fill = async || {
        for (path, group) in [("/answer/a", "\"g\""), ("/answer/b", "\"g\", \"h\""), ("/answer/c", "\"h\"")] {
            get(&host, path, &format!("{FRESH}|cache-groups: {group}")).await;
        }
    };
    fill().await;
    let state = host.admin("/response-cache").await.json();
    assert_eq!((&state["entries"], &state["capacity_bytes"]), (&3.into(), &(1 << 20).into()));
    assert!(state["bytes"].as_u64().is_some_and(|bytes| bytes > 1500), "{state}");
    let uri = format!("?uri=http://{}/answer/a", host.address());
    for (query, purged) in [
        (&*uri, 1),
        (&*uri, 0),
        ("?group=h", 2),
        ("?group=none", 0),
        ("?component=guest_service&group=g", 0),
        ("", 0),
    ] {
        assert_eq!(purge(&host, query).await, format!("{{\"purged\":{purged}}}"), "{query}");
    }
    fill().await;
    assert_eq!(purge(&host, "").await, r#"{"purged":3}"#);
    assert_eq!(number(&get(&host, "/answer/a", FRESH).await), 7, "nothing is left");

    for (method, target, status) in [
        ("GET", "/response-cache/purge", 405),
        ("POST", "/response-cache", 405),
        ("POST", "/response-cache/purge?all=1", 400),
        ("POST", "/response-cache/purge?component=none", 404),
    ] {
        let answer = admin(&host, method, target).await;
        assert_eq!(answer.status, status, "{method} {target}");
    }
    // The main listener has none of these paths.
    assert_eq!(host.request("POST", "/response-cache/purge").send().await.status, 404);
}

#[tokio::test]
async fn what_the_cache_does_is_counted() {
    let host = start(&[]).await;
    get(&host, "/answer/a", "cache-control: max-age=0, stale-if-error=60|etag: \"a\"").await;
    get(&host, "/answer/a", "304").await;
    get(&host, "/answer/a", "503").await;
    get(&host, "/answer/b", FRESH).await;
    get(&host, "/answer/b", FRESH).await;
    host.post("/answer/b", "").await;
    for (of, count) in
        [("hit", 1.0), ("miss", 2.0), ("validated", 1.0), ("stale", 1.0), ("bypass", 1.0), ("collapsed", 0.0)]
    {
        assert_eq!(host.metric(&outcome(of)).await, count, "{of}");
    }
    let samples = host.samples().await;
    let prefix = "wasi_http_host_response_cache";
    for (name, value) in
        [("stored_total", 2.0), ("invalidated_total", 1.0), ("evicted_total", 0.0), ("entries", 1.0)]
    {
        assert_eq!(samples.sum(&format!("{prefix}_{name}"), &[]), value, "{name}");
    }
    let bytes = |of| samples.sum(&format!("{prefix}_bytes"), &[("of", of)]);
    assert!(bytes("stored") > 0.0 && bytes("stored") < bytes("capacity"));
}

#[tokio::test]
async fn a_flood_of_addresses_stays_within_the_capacity() {
    let host = start(&[]).await;
    let large = format!("{FRESH}|x-large: {}", "x".repeat(4000));
    for at in 0..600 {
        get(&host, &format!("/answer/{at}"), &large).await;
    }
    let samples = host.samples().await;
    let bytes = |of| samples.sum("wasi_http_host_response_cache_bytes", &[("of", of)]);
    assert!(bytes("stored") + bytes("other") <= bytes("capacity"));
    assert!(samples.sum("wasi_http_host_response_cache_evicted_total", &[]) > 300.0);
}

#[tokio::test]
async fn a_span_says_what_the_cache_did() {
    let collector = Collector::start().await;
    let endpoint = collector.url();
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    let flags = ["--threads", "1", "--max-instances", "1", "--response-cache", "1MiB"];
    let host = start_app(&guest("service"), &flags, &environment).await;
    for _ in 0..2 {
        get(&host, "/answer/", FRESH).await;
    }
    let spans = collector.wait_for(2, |span| span.kind == SpanKind::Server).await;
    let mut outcomes: Vec<_> = spans.iter().map(|span| span.get("wasi_http_host.response_cache")).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["hit", "miss"]);
}
