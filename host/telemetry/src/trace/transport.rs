//! The transport of batches to the collector: OTLP over HTTP with protobuf, or over gRPC, which is one call over
//! HTTP/2.
//!
//! Source: <https://opentelemetry.io/docs/specs/otlp/>, <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use prost::Message as _;
use tokio::time::timeout;

use super::CollectorClient;
use super::settings::{Protocol, Settings};

/// Maximum number of bytes of the collector's response that are read.
const MAX_ANSWER: usize = 64 << 10;
/// Length of the prefix of a gRPC message: one byte that says whether the message is compressed, and four bytes
/// with the length.
const GRPC_PREFIX: usize = 5;
/// Maximum pause that a collector can ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Sends batches to the collector.
pub(super) struct Transport {
    client: Box<dyn CollectorClient>,
    settings: Settings,
}

/// The failure of one attempt to send a batch.
#[derive(Debug)]
pub(super) struct Failure {
    /// The reason for the log, without secrets.
    pub(super) reason: String,
    /// Whether a retry may succeed.
    pub(super) is_temporary: bool,
    /// The pause that the collector asks for.
    pub(super) pause: Option<Duration>,
}

impl Failure {
    fn temporary(reason: String) -> Self {
        Self { reason, is_temporary: true, pause: None }
    }

    fn lasting(reason: String) -> Self {
        Self { reason, is_temporary: false, pause: None }
    }
}

impl Transport {
    pub(super) fn new(client: Box<dyn CollectorClient>, settings: Settings) -> Self {
        Self { client, settings }
    }

    /// Encodes a batch. Each attempt sends the same bytes.
    pub(super) fn message(&self, batch: &ExportTraceServiceRequest) -> Bytes {
        let length = batch.encoded_len();
        let mut message = BytesMut::with_capacity(length + GRPC_PREFIX);
        if self.settings.protocol == Protocol::Grpc {
            message.put_u8(0);
            message.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        }
        // The buffer has room for the whole batch.
        let encoded = batch.encode(&mut message);
        debug_assert!(encoded.is_ok(), "a growing buffer takes all");
        message.freeze()
    }

    /// Sends an encoded batch, within the timeout of one attempt. Returns how many of its spans the collector
    /// rejected.
    ///
    /// # Errors
    /// When the collector cannot be reached, does not respond in time or refuses the batch.
    pub(super) async fn send(&self, message: Bytes) -> Result<u64, Failure> {
        let attempt = async {
            let response = self.client.send(self.request(message)).await.map_err(Failure::temporary)?;
            match self.settings.protocol {
                Protocol::Http => of_http(response).await,
                Protocol::Grpc => of_grpc(response).await,
            }
        };
        let limit = self.settings.timeout;
        let late = |_| Failure::temporary(format!("no response within {} ms", limit.as_millis()));
        timeout(limit, attempt).await.map_err(late)?
    }

    fn request(&self, message: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(message));
        *request.method_mut() = http::Method::POST;
        request.uri_mut().clone_from(&self.settings.endpoint);
        let headers = request.headers_mut();
        headers.clone_from(&self.settings.headers);
        let agent = concat!("wasi-http-host/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        let content = match self.settings.protocol {
            Protocol::Http => "application/x-protobuf",
            Protocol::Grpc => {
                headers.insert(header::TE, HeaderValue::from_static("trailers"));
                "application/grpc"
            }
        };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content));
        request
    }
}

async fn of_http(response: Response<Incoming>) -> Result<u64, Failure> {
    let (head, body) = response.into_parts();
    let is_temporary = matches!(
        head.status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    );
    // Read the body to its end in any case, so that the connection can be used again.
    let body = Limited::new(body, MAX_ANSWER).collect().await;
    if !head.status.is_success() {
        let pause = head.headers.get(header::RETRY_AFTER).and_then(seconds);
        return Err(Failure { reason: format!("it answered {}", head.status), is_temporary, pause });
    }
    // The status says that the collector accepted the batch. If the body cannot be read, only the number of
    // rejected spans is lost.
    Ok(body.map_or(0, |body| rejected(&body.to_bytes())))
}

async fn of_grpc(response: Response<Incoming>) -> Result<u64, Failure> {
    let (head, body) = response.into_parts();
    if head.status != StatusCode::OK {
        let reason = format!("it answered {}, which is not a gRPC response", head.status);
        return Err(Failure { reason, is_temporary: head.status.is_server_error(), pause: None });
    }
    let broken = |error| Failure::temporary(format!("its response is incomplete: {error}"));
    let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(broken)?;
    // A response that is only an error has its status in the head.
    let status = grpc_status(&head.headers).or_else(|| body.trailers().and_then(grpc_status));
    match status {
        Some(0) => Ok(body.to_bytes().get(GRPC_PREFIX..).map_or(0, rejected)),
        // Cancelled, deadline exceeded, resource exhausted, aborted, out of range, unavailable, data loss.
        Some(code @ (1 | 4 | 8 | 10 | 11 | 14 | 15)) => {
            Err(Failure::temporary(format!("it answered with the gRPC status {code}")))
        }
        Some(code) => Err(Failure::lasting(format!("it answered with the gRPC status {code}"))),
        None => Err(Failure::lasting("its response is not a gRPC response".to_owned())),
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Parses `Retry-After` in seconds, which is the form that collectors send.
fn seconds(value: &HeaderValue) -> Option<Duration> {
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_PAUSE))
}

fn rejected(body: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(body).ok();
    let partial = answer.and_then(|answer| answer.partial_success);
    partial.and_then(|partial| u64::try_from(partial.rejected_spans).ok()).unwrap_or_default()
}
