//! A collector: takes OTLP over HTTP and gRPC, decodes it, and keeps what it was told.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody, combinators::BoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span as Decoded, span::SpanKind},
};
use prost::Message as _;
use tokio::net::TcpListener;

use crate::harness::DEADLINE;

/// A span, as a test wants to look at it.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) kind: SpanKind,
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) state: String,
    pub(super) is_error: bool,
    pub(super) nanoseconds: u64,
    pub(super) attributes: BTreeMap<String, String>,
    /// All of it, to be searched for what must not be there.
    pub(super) whole: String,
}

impl Span {
    fn of(span: &Decoded) -> Self {
        Self {
            name: span.name.clone(),
            kind: span.kind(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            state: span.trace_state.clone(),
            is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
            nanoseconds: span.end_time_unix_nano.checked_sub(span.start_time_unix_nano).unwrap(),
            attributes: texts(&span.attributes),
            whole: format!("{span:?}"),
        }
    }

    /// An attribute; empty if there is none.
    pub(super) fn get(&self, key: &str) -> &str {
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

/// What the collector answers.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Take,
    /// With this status.
    Refuse(u16),
    /// Takes the batch but for so many of its spans.
    TakeBut(i64),
    /// Never.
    Silence,
}

#[derive(Default)]
struct Told {
    spans: Vec<Span>,
    resources: Vec<BTreeMap<String, String>>,
    heads: Vec<(String, HeaderMap)>,
}

#[derive(Clone)]
pub(super) struct Collector {
    pub(super) address: SocketAddr,
    told: Arc<Mutex<Told>>,
    answer: Arc<Mutex<Answer>>,
}

impl Collector {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Self {
            address: listener.local_addr().unwrap(),
            told: Arc::default(),
            answer: Arc::new(Mutex::new(Answer::Take)),
        };
        let this = collector.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                this.clone().serve(stream);
            }
        });
        collector
    }

    pub(super) fn serve(
        self,
        stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    ) {
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let this = self.clone();
                async move { Ok::<_, hyper::Error>(this.take(request).await) }
            });
            // A host that ends closes its connections as it likes.
            let _ = auto::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }

    pub(super) fn set_answer(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    async fn take(&self, request: Request<Incoming>) -> Response<BoxBody<Bytes, std::convert::Infallible>> {
        let (head, body) = request.into_parts();
        let is_grpc = head.headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
        let body = body.collect().await.unwrap().to_bytes();
        let message = if is_grpc {
            assert_eq!(u32::from_be_bytes(body[1..5].try_into().unwrap()) as usize, body.len() - 5);
            body.slice(5..)
        } else {
            body
        };
        let answer = *self.answer.lock().unwrap();
        self.told.lock().unwrap().heads.push((head.uri.path().to_owned(), head.headers));
        let rejected = match answer {
            Answer::Silence => std::future::pending().await,
            Answer::Refuse(status) => {
                let mut response = Response::new(Full::default().boxed());
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                return response;
            }
            Answer::TakeBut(rejected) => rejected,
            Answer::Take => 0,
        };
        self.keep(&ExportTraceServiceRequest::decode(message).expect("it is OTLP"));
        let partial = ExportTracePartialSuccess { rejected_spans: rejected, ..Default::default() };
        let answer = ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) };
        if is_grpc { grpc(&answer) } else { Response::new(Full::from(answer.encode_to_vec()).boxed()) }
    }

    fn keep(&self, request: &ExportTraceServiceRequest) {
        let mut told = self.told.lock().unwrap();
        for one in &request.resource_spans {
            told.resources.push(texts(&one.resource.as_ref().expect("a resource").attributes));
            let spans = one.scope_spans.iter().flat_map(|scope| &scope.spans).map(Span::of);
            told.spans.extend(spans);
        }
    }

    /// All spans so far.
    pub(super) fn spans(&self) -> Vec<Span> {
        self.told.lock().unwrap().spans.clone()
    }

    /// What was said of the process.
    pub(super) fn resource(&self) -> BTreeMap<String, String> {
        self.told.lock().unwrap().resources.first().expect("something was sent").clone()
    }

    /// The paths and headers of all requests so far.
    pub(super) fn heads(&self) -> Vec<(String, HeaderMap)> {
        self.told.lock().unwrap().heads.clone()
    }

    /// Waits until so many spans are so.
    pub(super) async fn wait_for(&self, count: usize, is_so: impl Fn(&Span) -> bool) -> Vec<Span> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let all = self.spans();
            let found: Vec<Span> = all.iter().filter(|span| is_so(span)).cloned().collect();
            if found.len() >= count {
                assert_eq!(found.len(), count, "{found:#?}");
                return found;
            }
            assert!(Instant::now() < deadline, "{} of {count} such spans in {all:#?}", found.len());
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    }

    /// Waits for the one span that is so.
    pub(super) async fn wait_for_one(&self, is_so: impl Fn(&Span) -> bool) -> Span {
        self.wait_for(1, is_so).await.remove(0)
    }
}

/// A message, and the status behind it.
fn grpc(answer: &ExportTraceServiceResponse) -> Response<BoxBody<Bytes, std::convert::Infallible>> {
    let mut message = vec![0];
    message.extend_from_slice(&u32::try_from(answer.encoded_len()).unwrap().to_be_bytes());
    message.extend_from_slice(&answer.encode_to_vec());
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static("0"))]);
    let frames = [Ok(Frame::data(message.into())), Ok(Frame::trailers(trailers))];
    let mut response = Response::new(BoxBody::new(StreamBody::new(futures::stream::iter(frames))));
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}
