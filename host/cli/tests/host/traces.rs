//! Traces: the spans that a collector receives, and the headers that an upstream receives.

mod chained;
mod upstream;

use std::time::Duration;

use nix::sys::signal::Signal;
use testkit::{
    Host, LogLine, RedisServer,
    http::BoundRequest,
    otlp::{Collector, ExportAnswer, Span, SpanKind},
    paths::guest,
    ports::Refusing,
    until,
};

use crate::harness::{run_in, start_app};
use upstream::Upstream;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

fn parent(trace: &str, flags: &str) -> String {
    format!("00-{trace}-{PARENT}-{flags}")
}

/// A host that exports its spans within 20 ms.
async fn serve(
    name: &str,
    collector: &Collector,
    upstream: &Upstream,
    flags: &[&str],
    environment: &[(&str, &str)],
) -> Host {
    let endpoint = collector.url();
    let allowed = format!("http://{}", upstream.address);
    let flags = [&["--allowed-outbound-host", &allowed][..], flags].concat();
    // The variables of a test come last and override these.
    let soon = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_SCHEDULE_DELAY", "20")];
    start_app(&guest(name), &flags, &[&soon[..], environment].concat()).await
}

fn get(host: &Host, path: &str, headers: &[(&str, &str)]) -> BoundRequest {
    let request = host.request("GET", path);
    headers.iter().fold(request, |request, (name, value)| request.header(name, value))
}

async fn traced(host: &Host, path: &str, parent: &str) -> String {
    get(host, path, &[("traceparent", parent)]).send().await.text().to_owned()
}

#[tokio::test]
async fn a_request_is_a_span_and_what_its_component_asks_are_its_children() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let host = serve("service", &collector, &upstream, &[], &[("OTEL_SERVICE_NAME", "shop")]).await;
    let path = format!("/fetch?{}/people/7?page=2", upstream.address);
    let headers = [("traceparent", &*parent(TRACE, "01")), ("tracestate", "a=1"), ("x-request-id", "id-1")];
    let answer = get(&host, &path, &headers).send().await;
    assert_eq!(answer.text(), "status 200");

    let server = collector.wait_for_one(|span| span.kind == SpanKind::Server).await;
    assert_eq!((&*server.trace, &*server.parent, &*server.state), (TRACE, PARENT, "a=1"));
    assert_eq!(server.name, "GET /...");
    assert!(!server.is_error && server.nanoseconds > 0);
    let (ip, port) = (host.address().ip().to_string(), host.address().port().to_string());
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.path", "/fetch"),
        ("url.scheme", "http"),
        ("http.route", "/..."),
        ("http.response.status_code", "200"),
        ("server.address", &*ip),
        ("server.port", &*port),
        ("network.protocol.version", "1.1"),
        ("wasi_http_host.component", "guest_service"),
        ("wasi_http_host.request_id", "id-1"),
    ] {
        assert_eq!(server.get(key), value, "{key}: {server:#?}");
    }

    let client = collector.wait_for_one(|span| span.kind == SpanKind::Client).await;
    assert_eq!((&*client.trace, &client.parent, &*client.state), (TRACE, &server.id, "a=1"));
    assert_eq!(client.name, "GET");
    let (ip, port) = (upstream.address.ip().to_string(), upstream.address.port().to_string());
    for (key, value) in [
        ("http.request.method", "GET"),
        ("url.full", &*format!("http://{}/people/7", upstream.address)),
        ("http.response.status_code", "200"),
        ("server.address", &*ip),
        ("server.port", &*port),
        ("network.protocol.version", "1.1"),
    ] {
        assert_eq!(client.get(key), value, "{key}: {client:#?}");
    }
    let told = |name| upstream.header("/people/7?page=2", name);
    assert_eq!(told("traceparent"), format!("00-{TRACE}-{}-01", client.id));
    assert_eq!(told("tracestate"), "a=1");

    assert_eq!(collector.resource()["service.name"], "shop");
    assert_eq!(host.wait_for_line(|line| line["message"] == "request").await["trace_id"], TRACE);
}

/// One instance serves all requests at once, and each request waits in the instance before it sends its own.
#[tokio::test]
async fn requests_that_share_an_instance_keep_their_traces() {
    const REQUESTS: usize = 24;
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let host =
        serve("service", &collector, &upstream, &["--threads", "1", "--max-instances", "1"], &[]).await;
    let trace = |at: usize| format!("{:032x}", at + 1);
    let asked = (0..REQUESTS).map(|at| {
        let (later, host) = (if at % 2 == 0 { "" } else { "-later" }, &host);
        let path = format!("/fetch{later}/{}?{}/{at}", 400 - 10 * at, upstream.address);
        async move { traced(host, &path, &parent(&trace(at), "01")).await }
    });
    futures::future::join_all(asked).await;
    let clients = collector.wait_for(REQUESTS, |span| span.kind == SpanKind::Client).await;
    let servers = collector.wait_for(REQUESTS, |span| span.kind == SpanKind::Server).await;
    assert_eq!(host.metric("wasi_http_host_instances_created_total").await, 1.0);
    for at in 0..REQUESTS {
        let of = |spans: &[Span]| spans.iter().find(|span| span.trace == trace(at)).unwrap().clone();
        let (server, client) = (of(&servers), of(&clients));
        assert_eq!(client.parent, server.id);
        assert!(client.get("url.full").ends_with(&format!("/{at}")), "{client:#?}");
        let told = upstream.header(&format!("/{at}"), "traceparent");
        assert_eq!(told, format!("00-{}-{}-01", trace(at), client.id));
    }
}

#[tokio::test]
async fn a_proxys_requests_are_children_too() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let host = serve("proxy", &collector, &upstream, &["--threads", "1"], &[]).await;
    let asked = (1..=4).map(|at| {
        let (path, host) = (format!("/fetch-after/20?{}/{at}", upstream.address), &host);
        async move { traced(host, &path, &parent(&format!("{at:032x}"), "01")).await }
    });
    for answer in futures::future::join_all(asked).await {
        assert_eq!(answer, "status 200");
    }
    let servers = collector.wait_for(4, |span| span.kind == SpanKind::Server).await;
    for client in collector.wait_for(4, |span| span.kind == SpanKind::Client).await {
        let server = servers.iter().find(|server| server.id == client.parent).unwrap();
        assert_eq!(client.trace, server.trace);
        let at = u8::from_str_radix(&client.trace, 16).unwrap();
        assert!(client.get("url.full").ends_with(&format!("/{at}")), "{client:#?}");
    }
}

#[tokio::test]
async fn operations_on_stores_are_children_without_keys_and_values() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let redis = RedisServer::start();
    let store = format!("shared=redis://{}", redis.address());
    let host = serve("service", &collector, &upstream, &[], &[]).await;
    for (path, name) in
        [("set/default/hush-key?hush-value", "set default"), ("append/default/hush-key?x", "cas-new default")]
    {
        let trace = format!("{:032x}", path.len());
        assert_eq!(traced(&host, &format!("/keyvalue/{path}"), &parent(&trace, "01")).await, "Ok(())");
        let server =
            collector.wait_for_one(|span| span.kind == SpanKind::Server && span.trace == trace).await;
        let operation = collector.wait_for_one(|span| span.name == name).await;
        assert_eq!((&operation.trace, &operation.parent), (&server.trace, &server.id));
        assert_eq!(operation.kind, SpanKind::Internal);
        assert_eq!((operation.get("wasi_http_host.store"), operation.get("db.system.name")), ("default", ""));
    }
    collector.wait_for_one(|span| span.name == "swap default").await;

    let host = serve("service", &collector, &upstream, &["--keyvalue-store", &store], &[]).await;
    assert_eq!(
        traced(&host, "/keyvalue/set/shared/hush-key?hush-value", &parent(TRACE, "01")).await,
        "Ok(())"
    );
    let server = collector.wait_for_one(|span| span.kind == SpanKind::Server && span.trace == TRACE).await;
    let operation = collector.wait_for_one(|span| span.name == "set shared").await;
    assert_eq!((&*operation.trace, &operation.parent), (TRACE, &server.id));
    assert_eq!(operation.kind, SpanKind::Client);
    assert_eq!((operation.get("db.system.name"), operation.get("db.operation.name")), ("redis", "set"));
    drop(redis);
    assert!(traced(&host, "/keyvalue/get/shared/hush-other", &parent(TRACE, "01")).await.starts_with("Err"));
    let failed = collector.wait_for_one(|span| span.name == "get shared").await;
    assert!(failed.is_error && failed.get("error.type") == "_OTHER", "{failed:#?}");
    for span in collector.spans() {
        assert!(span.kind == SpanKind::Server || !span.whole.contains("hush"), "{}", span.whole);
        assert!(!span.whole.contains("hush-value"), "{}", span.whole);
    }
}

#[tokio::test]
async fn what_a_task_does_after_its_response_is_the_requests() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let host = serve("service", &collector, &upstream, &[], &[]).await;
    traced(&host, "/background/50", &parent(TRACE, "01")).await;
    let server = collector.wait_for_one(|span| span.kind == SpanKind::Server).await;
    let note = collector.wait_for_one(|span| span.name == "set default").await;
    assert_eq!((&*note.trace, note.parent), (TRACE, server.id));
}

#[tokio::test]
async fn who_is_not_sampled_is_not_recorded_but_passed_on() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let host = serve("service", &collector, &upstream, &[], &[]).await;
    traced(&host, &format!("/fetch?{}/unsampled", upstream.address), &parent(TRACE, "00")).await;
    let told = upstream.header("/unsampled", "traceparent");
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
    assert!(!told.contains(PARENT), "the host's own span is not between client and upstream: {told}");
    // The guest sees the header, too.
    let seen = traced(&host, "/headers", &parent(TRACE, "00")).await;
    assert!(seen.contains(&format!("traceparent: 00-{TRACE}-")) && !seen.contains(PARENT), "{seen}");

    // The span of a sampled request comes after the requests that are not sampled.
    traced(&host, "/hello/x", &parent(&format!("{:032x}", 7), "01")).await;
    collector.wait_for_one(|span| span.get("url.path") == "/hello/x").await;
    assert_eq!(collector.spans().len(), 1, "{:#?}", collector.spans());
}

#[tokio::test]
async fn a_malformed_parent_is_replaced() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let host = serve("service", &collector, &upstream, &[], &[]).await;
    let zeros = parent(&"0".repeat(32), "01");
    for (at, malformed) in ["nonsense", &*zeros, &parent(TRACE, "0x")].into_iter().enumerate() {
        let headers = [("traceparent", malformed), ("tracestate", "a=1")];
        let path = format!("/headers/{at}");
        let seen = get(&host, &path, &headers).send().await.text().to_owned();
        let server = collector.wait_for_one(|span| span.get("url.path") == path).await;
        assert!(server.parent.is_empty() && server.trace != TRACE && server.state.is_empty(), "{server:#?}");
        assert!(seen.contains(&format!("traceparent: 00-{}-{}-01", server.trace, server.id)), "{seen}");
        assert!(!seen.contains("tracestate"), "{seen}");
    }
}

#[tokio::test]
async fn what_the_component_says_of_its_parent_counts_within_its_trace() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let host = serve("service", &collector, &upstream, &[], &[]).await;
    let other = format!("{:032x}", 9);
    for (path, said) in [("/own", TRACE), ("/other", &other)] {
        let own = format!("00-{said}-00000000000000aa-00");
        let target = format!("/fetch-as/{own}?{}{path}", upstream.address);
        assert_eq!(traced(&host, &target, &parent(TRACE, "01")).await, "status 200");
        let client = collector.wait_for_one(|span| span.get("url.full").ends_with(path)).await;
        let told = upstream.header(path, "traceparent");
        assert_eq!(told, format!("00-{TRACE}-{}-01", client.id));
        if said == TRACE {
            assert_eq!(client.parent, "00000000000000aa");
        } else {
            let servers = collector.wait_for(2, |span| span.kind == SpanKind::Server).await;
            assert!(servers.iter().any(|server| server.id == client.parent), "{client:#?}");
        }
    }
}

#[tokio::test]
async fn the_sampler_and_the_propagators_are_chosen_by_their_variables() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let environment = [("OTEL_TRACES_SAMPLER", "always_off"), ("OTEL_PROPAGATORS", "none")];
    let host = serve("service", &collector, &upstream, &[], &environment).await;
    let path = format!("/fetch?{}/quiet", upstream.address);
    assert_eq!(traced(&host, &path, &parent(TRACE, "01")).await, "status 200");
    assert_eq!(upstream.header("/quiet", "traceparent"), "");
    let seen = traced(&host, "/headers", &parent(TRACE, "01")).await;
    assert!(seen.contains(&parent(TRACE, "01")), "the guest does not see the client's header: {seen}");
    drop(host);

    let environment = [("OTEL_TRACES_SAMPLER", "always_on"), ("OTEL_PROPAGATORS", "none")];
    let host = serve("service", &collector, &upstream, &[], &environment).await;
    traced(&host, "/hello/x", &parent(TRACE, "00")).await;
    let server = collector.wait_for_one(|_| true).await;
    assert!(server.trace != TRACE && server.parent.is_empty(), "{server:#?}");
}

#[tokio::test]
async fn without_an_endpoint_headers_pass_untouched() {
    let upstream = Upstream::start().await;
    let allowed = format!("http://{}", upstream.address);
    let environment = [("OTEL_SERVICE_NAME", "shop"), ("OTEL_TRACES_SAMPLER", "always_on")];
    let host = start_app(&guest("service"), &["--allowed-outbound-host", &allowed], &environment).await;
    let seen = traced(&host, "/headers", &parent(TRACE, "01")).await;
    assert!(seen.contains(&parent(TRACE, "01")), "{seen}");
    assert!(!host.get("/headers").await.text().contains("traceparent"));
    traced(&host, &format!("/fetch?{}/plain", upstream.address), &parent(TRACE, "01")).await;
    assert_eq!(upstream.header("/plain", "traceparent"), "");
    assert!(!host.admin("/metrics").await.text().contains("_trace_"));
}

#[tokio::test]
async fn what_fails_is_an_error() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let host = serve("service", &collector, &upstream, &["--request-timeout", "2s"], &[]).await;
    for (path, status, kind) in [
        ("/trap", 500, "trap"),
        ("/hang", 504, "timeout"),
        ("/error/refused", 502, "component_error"),
        ("/error/internal", 500, "component_error"),
        ("/status/503", 503, "503"),
        ("/status/404", 404, ""),
        ("/cut", 200, "response_broke_off"),
    ] {
        let answer = host.get_partial(path).await;
        assert_eq!(answer.status, status, "{path}");
        let span = collector.wait_for_one(|span| span.get("url.path") == path).await;
        assert_eq!((span.is_error, span.get("error.type")), (!kind.is_empty(), kind), "{span:#?}");
        assert_eq!(span.get("http.response.status_code"), status.to_string());
        assert!(!span.whole.contains("secret"), "{}", span.whole);
    }
    // The egress policy denies the address.
    host.get("/fetch?127.0.0.1:1/nobody").await;
    let span = collector.wait_for_one(|span| span.kind == SpanKind::Client).await;
    assert!(span.is_error && span.get("error.type") == "denied", "{span:#?}");
}

#[tokio::test]
async fn secrets_are_nowhere() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let endpoint = format!("http://{}/otlp", collector.address());
    let environment = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hush-1,x-tenant=hush-2"),
    ];
    let host = serve("service", &collector, &upstream, &["--log-level", "debug"], &environment).await;
    let path = format!("/fetch?user:hush-3@{}/x?key=hush-4", upstream.address);
    get(&host, &path, &[("authorization", "Bearer hush-5"), ("cookie", "hush-6")]).send().await;
    collector.wait_for(2, |_| true).await;
    let (path, headers) = collector.heads().remove(0);
    assert_eq!(
        (&*path, &headers["authorization"], &headers["x-tenant"]),
        ("/otlp/v1/traces", &"Bearer hush-1".parse().unwrap(), &"hush-2".parse().unwrap())
    );
    for span in collector.spans() {
        assert!(!span.whole.contains("hush"), "{}", span.whole);
    }
    collector.set_answer(ExportAnswer::Refuse(400));
    host.get("/hello/x").await;
    let failed = r#"wasi_http_host_trace_spans_dropped_total{reason="export_failed"}"#;
    host.wait_for_metric(failed, |count| count == 1.0).await;
    host.wait_for_line(|line| line["message"] == "spans were not sent to the collector").await;
    let log = format!("{:?}", host.lines());
    assert!(!log.contains("hush"), "{log}");
    assert!(!host.admin("/metrics").await.text().contains("hush"));
}

#[tokio::test]
async fn a_collector_that_is_away_costs_spans_and_nothing_else() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    collector.set_answer(ExportAnswer::Silence);
    let environment = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "8"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "3600000"),
    ];
    let mut host = serve("service", &collector, &upstream, &["--drain-timeout", "1s"], &environment).await;
    for _ in 0..32 {
        assert_eq!(host.get("/hello/x").await.text(), "hello x");
    }
    let dropped = |reason| format!("wasi_http_host_trace_spans_dropped_total{{reason=\"{reason}\"}}");
    // One batch is being exported, and the queue is full.
    host.wait_for_metric(&dropped("queue_full"), |count| (20.0..=24.0).contains(&count)).await;
    assert_eq!(host.metric("wasi_http_host_trace_spans_queued").await, 8.0);
    assert_eq!(host.metric("wasi_http_host_trace_spans_exported_total").await, 0.0);
    // The collector does not delay the shutdown.
    host.signal(Signal::SIGTERM);
    assert_eq!(host.ended().await.code(), Some(0));
    host.wait_for_line(|line| line["message"] == "the host stops before the last spans are sent").await;

    // Connections to the collector are refused.
    let refusing = Refusing::bind();
    let endpoint = format!("http://{}", refusing.address());
    let environment = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("OTEL_BSP_EXPORT_TIMEOUT", "1")];
    let host = serve("service", &collector, &upstream, &[], &environment).await;
    for _ in 0..3 {
        assert_eq!(host.get("/hello/x").await.text(), "hello x");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    host.wait_for_metric(&dropped("export_failed"), |count| count == 3.0).await;
    host.wait_for_line(|line| line["message"] == "spans were not sent to the collector").await;
    let warned = |lines: Vec<LogLine>| {
        lines.iter().filter(|line| line["message"] == "spans were not sent to the collector").count()
    };
    assert_eq!(warned(host.lines()), 1, "{:#?}", host.lines());
}

#[tokio::test]
async fn a_busy_collector_is_asked_again_and_may_refuse_some() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    collector.set_answer(ExportAnswer::Refuse(503));
    let host = serve("service", &collector, &upstream, &[], &[]).await;
    host.get("/hello/x").await;
    until("a batch is sent", async || (!collector.heads().is_empty()).then_some(())).await;
    collector.set_answer(ExportAnswer::RejectSome(1));
    collector.wait_for_one(|_| true).await;
    let rejected = r#"wasi_http_host_trace_spans_dropped_total{reason="rejected"}"#;
    host.wait_for_metric(rejected, |count| count == 1.0).await;
    collector.set_answer(ExportAnswer::Accept);
    host.get("/hello/y").await;
    host.wait_for_metric("wasi_http_host_trace_spans_exported_total", |count| count == 1.0).await;
}

#[tokio::test]
async fn what_is_left_is_sent_at_the_end() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let mut host =
        serve("service", &collector, &upstream, &[], &[("OTEL_BSP_SCHEDULE_DELAY", "3600000")]).await;
    for _ in 0..5 {
        host.get("/hello/x").await;
    }
    // One request is still running when the shutdown begins.
    let (_, ()) = tokio::join!(host.get("/sleep/5000"), async {
        host.wait_for_metric("wasi_http_host_requests_active", |active| active == 1.0).await;
        assert!(collector.spans().is_empty());
        host.signal(Signal::SIGTERM);
    });
    assert_eq!(host.ended().await.code(), Some(0));
    assert_eq!(collector.spans().len(), 6, "{:#?}", collector.spans());
}

#[tokio::test]
async fn spans_go_by_grpc_where_it_is_asked_for() {
    let (collector, upstream) = (Collector::start().await, Upstream::start().await);
    let environment = [("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"), ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=a")];
    let host = serve("service", &collector, &upstream, &[], &environment).await;
    for at in 0..3 {
        assert_eq!(traced(&host, &format!("/hello/{at}"), &parent(TRACE, "01")).await, format!("hello {at}"));
        collector.wait_for(at + 1, |span| span.trace == TRACE).await;
    }
    host.wait_for_metric("wasi_http_host_trace_spans_exported_total", |count| count == 3.0).await;
    let (path, headers) = collector.heads().remove(0);
    assert_eq!(path, "/opentelemetry.proto.collector.trace.v1.TraceService/Export");
    assert_eq!((&headers["te"], &headers["x-tenant"]), (&"trailers".parse().unwrap(), &"a".parse().unwrap()));
}

#[test]
fn a_variable_that_cannot_be_stops_the_start_and_is_named() {
    let service = guest("service");
    let args =
        ["serve", service.to_str().unwrap(), "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hush"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
    ] {
        let output = run_in(&args, &[endpoint, (name, value)]);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{message}");
        assert!(message.contains(name) && !message.contains("hush"), "{message}");
    }
}
