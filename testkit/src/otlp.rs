//! A collector of traces: takes OTLP over HTTP/protobuf and over gRPC, and keeps the decoded spans.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span as ProtocolSpan;
pub use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message as _;

use crate::ports;
use crate::wait::DEADLINE;

/// The pause between two looks of [`Collector::wait_for`].
const LOOK: Duration = Duration::from_millis(10);

/// A span with its ids in hexadecimal.
#[derive(Clone, Debug)]
pub struct Span {
    /// The name.
    pub name: String,
    /// The kind.
    pub kind: SpanKind,
    /// The trace's id, 32 digits.
    pub trace: String,
    /// The span's id, 16 digits.
    pub id: String,
    /// The parent span's id; empty for a root span.
    pub parent: String,
    /// The W3C `tracestate`.
    pub state: String,
    /// Whether the status is `ERROR`.
    pub is_error: bool,
    /// The duration.
    pub nanoseconds: u64,
    /// Attributes; numbers and booleans as text.
    pub attributes: BTreeMap<String, String>,
    /// The whole span as text, to search for what must not be in it.
    pub whole: String,
}

impl Span {
    fn of(span: &ProtocolSpan) -> Self {
        Self {
            name: span.name.clone(),
            kind: span.kind(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            state: span.trace_state.clone(),
            is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
            nanoseconds: span
                .end_time_unix_nano
                .checked_sub(span.start_time_unix_nano)
                .expect("a span ends after it starts"),
            attributes: texts(&span.attributes),
            whole: format!("{span:?}"),
        }
    }

    /// The value of an attribute; empty if the span has no such attribute.
    pub fn get(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", |value| value)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(yes) => Some(yes.to_string()),
        _ => None,
    };
    attributes.iter().map(|one| (one.key.clone(), text(one).expect("a plain value"))).collect()
}

/// How the collector answers an export.
#[derive(Clone, Copy, Debug)]
pub enum ExportAnswer {
    /// Accepts the batch.
    Accept,
    /// Refuses the batch with this HTTP status.
    Refuse(u16),
    /// Accepts the batch and reports that it rejected this number of its spans (OTLP partial success).
    RejectSome(i64),
    /// Never answers.
    Silence,
}

#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    resources: Vec<BTreeMap<String, String>>,
    heads: Vec<(String, HeaderMap)>,
}

/// A collector on a free port of loopback. Clones share what was received.
#[derive(Clone)]
pub struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    answer: Arc<Mutex<ExportAnswer>>,
}

impl Collector {
    /// Starts one that accepts each batch.
    pub async fn start() -> Self {
        let (listener, address) = ports::listen().await;
        let collector =
            Self { address, received: Arc::default(), answer: Arc::new(Mutex::new(ExportAnswer::Accept)) };
        let this = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                this.clone().serve(stream);
            }
        });
        collector
    }

    /// Where the collector listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The collector's base URL, for `OTEL_EXPORTER_OTLP_ENDPOINT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn serve(self, stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static) {
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let this = self.clone();
                async move { Ok::<_, hyper::Error>(this.export(request).await) }
            });
            // A host may close its connections at any time.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }

    /// Answers all further exports so.
    pub fn set_answer(&self, answer: ExportAnswer) {
        *lock(&self.answer) = answer;
    }

    async fn export(&self, request: Request<Incoming>) -> Response<BoxBody<Bytes, Infallible>> {
        let (head, body) = request.into_parts();
        let is_grpc = head.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
        let body = body.collect().await.expect("a whole request").to_bytes();
        let message = if is_grpc { grpc_message(&body) } else { body };
        let answer = *lock(&self.answer);
        lock(&self.received).heads.push((head.uri.path().to_owned(), head.headers));
        let rejected = match answer {
            ExportAnswer::Silence => std::future::pending().await,
            ExportAnswer::Refuse(status) => {
                let mut response = Response::new(Full::default().boxed());
                *response.status_mut() = StatusCode::from_u16(status).expect("a status");
                return response;
            }
            ExportAnswer::RejectSome(rejected) => rejected,
            ExportAnswer::Accept => 0,
        };
        self.keep(&ExportTraceServiceRequest::decode(message).expect("an OTLP message"));
        let partial = ExportTracePartialSuccess { rejected_spans: rejected, ..Default::default() };
        let answer = ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) };
        if is_grpc { grpc(&answer) } else { Response::new(Full::from(answer.encode_to_vec()).boxed()) }
    }

    fn keep(&self, request: &ExportTraceServiceRequest) {
        let mut received = lock(&self.received);
        for one in &request.resource_spans {
            received.resources.push(texts(&one.resource.as_ref().expect("a resource").attributes));
            let spans = one.scope_spans.iter().flat_map(|scope| &scope.spans).map(Span::of);
            received.spans.extend(spans);
        }
    }

    /// All spans so far.
    #[must_use]
    pub fn spans(&self) -> Vec<Span> {
        lock(&self.received).spans.clone()
    }

    /// The attributes of the first resource: what the exporter says about its process.
    #[must_use]
    pub fn resource(&self) -> BTreeMap<String, String> {
        lock(&self.received).resources.first().expect("a batch has come").clone()
    }

    /// The paths and headers of all requests so far.
    #[must_use]
    pub fn heads(&self) -> Vec<(String, HeaderMap)> {
        lock(&self.received).heads.clone()
    }

    /// Waits until `wanted` holds for `count` spans. Panics if it holds for more.
    pub async fn wait_for(&self, count: usize, wanted: impl Fn(&Span) -> bool) -> Vec<Span> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let all = self.spans();
            let found: Vec<Span> = all.iter().filter(|span| wanted(span)).cloned().collect();
            if found.len() >= count {
                assert_eq!(found.len(), count, "{found:#?}");
                return found;
            }
            assert!(Instant::now() < deadline, "{} of {count} such spans in {all:#?}", found.len());
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Waits for the one span for which `wanted` holds.
    pub async fn wait_for_one(&self, wanted: impl Fn(&Span) -> bool) -> Span {
        self.wait_for(1, wanted).await.remove(0)
    }
}

/// The message of a gRPC request: behind a flag and a length of four bytes.
fn grpc_message(body: &Bytes) -> Bytes {
    let length = body.get(1..5).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
    assert_eq!(length, u32::try_from(body.len() - 5).ok(), "one gRPC message");
    body.slice(5..)
}

/// A gRPC response: a message, and the status as a trailer.
fn grpc(answer: &ExportTraceServiceResponse) -> Response<BoxBody<Bytes, Infallible>> {
    let mut message = vec![0];
    message.extend_from_slice(&u32::try_from(answer.encoded_len()).expect("a short message").to_be_bytes());
    message.extend_from_slice(&answer.encode_to_vec());
    let trailers =
        HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let frames = [Ok(Frame::data(message.into())), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(BoxBody::new(StreamBody::new(futures::stream::iter(frames))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
