//! Spans as OTLP has them, by the stable conventions for HTTP and databases
//! (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/>, <https://opentelemetry.io/docs/specs/semconv/database/>).
//!
//! Queries, user information, headers, keys and values are in none: they are where secrets are.

use std::{
    borrow::Cow,
    time::{SystemTime, UNIX_EPOCH},
};

use http::{Method, Version};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value::Value},
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span as Encoded, Status, span::SpanKind, status::StatusCode as Outcome,
    },
};

use super::span::{FetchDetails, KeyValueDetails, RequestDetails, Server, Span, What};
use crate::outbound;

/// The parent may be in another process, which is known; and it is.
const HAS_IS_REMOTE: u32 = 1 << 8;
const IS_REMOTE: u32 = 1 << 9;
/// What stands for a method, or an error, that is not one of the known ones.
const OTHER: &str = "_OTHER";
const SCOPE: &str = "wasi-http-host";

/// What is said of the process, with what every library of this kind says of itself.
pub(super) fn resource(attributes: &[(String, String)]) -> Resource {
    let mut all = Attributes::default();
    for (key, value) in attributes {
        all.0.push(attribute(key.clone(), Value::StringValue(value.clone())));
    }
    all.text("telemetry.sdk.name", SCOPE);
    all.text("telemetry.sdk.language", "rust");
    all.text("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
    Resource { attributes: all.0, ..Resource::default() }
}

/// A batch, as it is sent.
pub(super) fn request(resource: &Resource, spans: impl Iterator<Item = Span>) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: SCOPE.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let spans = spans.map(encode).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource.clone()), scope_spans, schema_url: String::new() }];
    ExportTraceServiceRequest { resource_spans }
}

fn encode(span: Span) -> Encoded {
    let Span { origin, parent, component, start, duration, what } = span;
    let mut attributes = Attributes::default();
    if let Some(component) = component {
        attributes.text("wasi_http_host.component", &*component);
    }
    let from_client = matches!(what, What::Request(_)) && parent.is_some();
    let (name, kind, is_error) = match &what {
        What::Request(details) => of_request(details, &mut attributes),
        What::Fetch(details) => of_fetch(details, &mut attributes),
        What::KeyValue(details) => of_keyvalue(details, &mut attributes),
    };
    let code = if is_error { Outcome::Error } else { Outcome::Unset };
    Encoded {
        trace_id: origin.context.trace.to_vec(),
        span_id: origin.context.span.to_vec(),
        trace_state: origin
            .state
            .as_ref()
            .and_then(|state| state.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        parent_span_id: parent.map(|id| id.to_vec()).unwrap_or_default(),
        flags: u32::from(origin.context.sampled) | HAS_IS_REMOTE | if from_client { IS_REMOTE } else { 0 },
        name,
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(start),
        end_time_unix_nano: nanoseconds(start + duration),
        attributes: attributes.0,
        status: Some(Status { code: code.into(), message: String::new() }),
        ..Encoded::default()
    }
}

fn of_request(details: &RequestDetails, attributes: &mut Attributes) -> (String, SpanKind, bool) {
    attributes.method(&details.method);
    attributes.text("url.scheme", details.scheme.as_str());
    attributes.text("url.path", &*details.path);
    if let Some(route) = &details.route {
        attributes.text("http.route", &**route);
    }
    attributes.server(details.server.as_ref());
    attributes.version(details.version);
    attributes.text("wasi_http_host.request_id", &*details.request_id);
    let status = details.status.map(|status| status.as_u16());
    if let Some(status) = status {
        attributes.number("http.response.status_code", status.into());
    }
    if !details.complete {
        attributes.0.push(attribute("wasi_http_host.aborted".to_owned(), Value::BoolValue(true)));
    }
    let error = match (details.error, status) {
        (Some(error), _) => Some(Cow::from(error)),
        (None, Some(status @ 500..)) => Some(Cow::from(status.to_string())),
        (None, _) => None,
    };
    let is_error = error.is_some();
    if let Some(error) = error {
        attributes.text("error.type", error);
    }
    let method = name_of(&details.method).unwrap_or("HTTP");
    let name = details.route.as_ref().map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    (name, SpanKind::Server, is_error)
}

fn of_fetch(details: &FetchDetails, attributes: &mut Attributes) -> (String, SpanKind, bool) {
    attributes.method(&details.method);
    attributes.text("url.full", &*details.url);
    attributes.server(details.server.as_ref());
    if let Some(version) = details.version {
        attributes.version(version);
    }
    let status = details.status.map(|status| status.as_u16());
    if let Some(status) = status {
        attributes.number("http.response.status_code", status.into());
    }
    let error = match (details.outcome, status) {
        (outbound::Outcome::Success | outbound::Outcome::Redirection, _) => None,
        (outbound::Outcome::ClientError | outbound::Outcome::ServerError, Some(status)) => {
            Some(Cow::from(status.to_string()))
        }
        (outcome, _) => Some(Cow::from(outcome.as_str())),
    };
    let is_error = error.is_some();
    if let Some(error) = error {
        attributes.text("error.type", error);
    }
    (name_of(&details.method).unwrap_or("HTTP").to_owned(), SpanKind::Client, is_error)
}

fn of_keyvalue(details: &KeyValueDetails, attributes: &mut Attributes) -> (String, SpanKind, bool) {
    let (store, remote) = details.access.describe(details.bucket).unwrap_or_default();
    let remote = remote && !details.known;
    let operation = details.operation.as_str();
    attributes.text("db.operation.name", operation);
    attributes.text("wasi_http_host.store", store);
    if remote {
        attributes.text("db.system.name", "redis");
    }
    if details.failed {
        attributes.text("error.type", OTHER);
    }
    let kind = if remote { SpanKind::Client } else { SpanKind::Internal };
    (format!("{operation} {store}"), kind, details.failed)
}

/// A method's name, if it is one of those that are known: others would be names without end.
fn name_of(method: &Method) -> Option<&str> {
    const KNOWN: [Method; 9] = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    KNOWN.contains(method).then(|| method.as_str())
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn attribute(key: String, value: Value) -> KeyValue {
    KeyValue { key, value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn text(&mut self, key: &str, value: impl Into<String>) {
        self.0.push(attribute(key.to_owned(), Value::StringValue(value.into())));
    }

    fn number(&mut self, key: &str, value: i64) {
        self.0.push(attribute(key.to_owned(), Value::IntValue(value)));
    }

    fn method(&mut self, method: &Method) {
        self.text("http.request.method", name_of(method).unwrap_or(OTHER));
        if name_of(method).is_none() {
            self.text("http.request.method_original", method.as_str());
        }
    }

    fn server(&mut self, server: Option<&Server>) {
        let Some(Server { address, port }) = server else { return };
        self.text("server.address", &**address);
        if let Some(port) = port {
            self.number("server.port", i64::from(*port));
        }
    }

    fn version(&mut self, version: Version) {
        let version = match version {
            Version::HTTP_10 => "1.0",
            Version::HTTP_11 => "1.1",
            Version::HTTP_2 => "2",
            _ => return,
        };
        self.text("network.protocol.version", version);
    }
}
