//! Encodes spans for OTLP.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{
        ResourceSpans, ScopeSpans, Span as Encoded, Status, span::SpanKind as EncodedKind, status::StatusCode,
    },
};

use super::{Attributes, Span, SpanKind, SpanSummary};

/// Flags of a span in OTLP. The first says that the second is valid. The second says that the span's parent is in
/// another process.
const HAS_IS_REMOTE: u32 = 1 << 8;
const IS_REMOTE: u32 = 1 << 9;
const SCOPE: &str = "wasi-http-host";

/// Creates the resource that describes the process: the operator's attributes, and the `telemetry.sdk` attributes
/// that each SDK sets.
pub(super) fn resource(attributes: &[(String, String)]) -> Resource {
    let mut all = Attributes::default();
    for (key, value) in attributes {
        all.text(key, value);
    }
    all.text("telemetry.sdk.name", SCOPE);
    all.text("telemetry.sdk.language", "rust");
    all.text("telemetry.sdk.version", env!("CARGO_PKG_VERSION"));
    Resource { attributes: all.0, ..Resource::default() }
}

/// Creates the export request of one batch.
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
    let Span { origin, parent, component, start, duration, details } = span;
    let mut attributes = Attributes::default();
    if let Some(component) = component {
        attributes.text("wasi_http_host.component", &*component);
    }
    let SpanSummary { name, kind, is_error } = details.describe(&mut attributes);
    // Only the parent of a client's request is in another process.
    let is_remote = kind == SpanKind::Server && parent.is_some();
    let kind = match kind {
        SpanKind::Server => EncodedKind::Server,
        SpanKind::Client => EncodedKind::Client,
        SpanKind::Internal => EncodedKind::Internal,
    };
    let code = if is_error { StatusCode::Error } else { StatusCode::Unset };
    let state = origin.state.as_ref().and_then(|state| state.to_str().ok());
    Encoded {
        trace_id: origin.context.trace.to_vec(),
        span_id: origin.context.span.to_vec(),
        trace_state: state.unwrap_or_default().to_owned(),
        parent_span_id: parent.map(|id| id.to_vec()).unwrap_or_default(),
        flags: u32::from(origin.context.sampled) | HAS_IS_REMOTE | if is_remote { IS_REMOTE } else { 0 },
        name,
        kind: kind.into(),
        start_time_unix_nano: nanoseconds(start),
        end_time_unix_nano: nanoseconds(start + duration),
        attributes: attributes.0,
        status: Some(Status { code: code.into(), message: String::new() }),
        ..Encoded::default()
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
