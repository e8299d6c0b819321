//! A request's way in a trace: through the host, the component, and to GitHub.

use std::sync::{Arc, Mutex};

use e2e::harness::{Instances, Options, Service, until};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{Span, span::SpanKind},
};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::expect::Expect as _;

suite!(a_miss_shows_its_call_of_github_and_a_hit_has_none);

const PARENT: &str = "00f067aa0ba902b7";

/// All spans that were sent to it.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    async fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self::default();
        let this = collector.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(this.clone().serve(stream));
            }
        });
        (collector, endpoint)
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        while stream.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
            while let Some((head, body)) = request(&bytes) {
                let (whole, body) = (head + body.len(), ExportTraceServiceRequest::decode(body).unwrap());
                bytes.drain(..whole);
                let resources = body.resource_spans.into_iter();
                let spans = resources.flat_map(|one| one.scope_spans).flat_map(|scope| scope.spans);
                self.0.lock().unwrap().extend(spans);
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            }
        }
    }

    /// Spans of a trace and a kind.
    fn spans(&self, trace: &str, kind: SpanKind) -> Vec<Span> {
        let spans = self.0.lock().unwrap();
        spans.iter().filter(|span| hex(&span.trace_id) == trace && span.kind() == kind).cloned().collect()
    }
}

/// The length of the head, and the body, if both are whole.
fn request(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).unwrap() else { return None };
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length: usize = std::str::from_utf8(length?.value).unwrap().parse().unwrap();
    Some((head, bytes.get(head..head + length)?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn a_miss_shows_its_call_of_github_and_a_hit_has_none(instances: Instances) {
    let (collector, endpoint) = Collector::start().await;
    let traced = |options: Options| {
        options.setting("otel_exporter_otlp_endpoint", &endpoint).setting("otel_bsp_schedule_delay", "20")
    };
    let service = Service::with(instances, traced).await;
    let (miss, hit) = (format!("{:032x}", 1), format!("{:032x}", 2));
    for trace in [&miss, &hit] {
        let parent = format!("00-{trace}-{PARENT}-01");
        service.host.ask("GET", "/octocat").header("traceparent", &parent).send().await.is(200);
    }
    let server = async |trace: &str| {
        until("the request's span has come", async || collector.spans(trace, SpanKind::Server).pop()).await
    };
    let asked = server(&miss).await;
    assert_eq!((hex(&asked.parent_span_id), &*asked.name), (PARENT.to_owned(), "GET /..."));
    let client =
        until("the call's span has come", async || collector.spans(&miss, SpanKind::Client).pop()).await;
    assert_eq!(client.parent_span_id, asked.span_id);
    let calls = service.github.journal().calls_for("octocat");
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].header("traceparent"), Some(&*format!("00-{miss}-{}-01", hex(&client.span_id))));

    server(&hit).await;
    assert!(!collector.spans(&hit, SpanKind::Internal).is_empty(), "it looked into the store");
    assert!(collector.spans(&hit, SpanKind::Client).is_empty());
}
