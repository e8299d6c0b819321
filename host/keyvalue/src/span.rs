//! The span of an operation on a key-value store.

use std::sync::Arc;

use wasi_http_host_telemetry::trace::{
    Attributes, OTHER, Origin, Span, SpanDetails, SpanKind, SpanSummary, Start, Tracer,
};

use super::{access::Access, stats::Operation, store::Store};

/// The span of a sampled operation on a key-value store. It ends when it is dropped.
pub struct KeyValueSpan {
    tracer: Arc<Tracer>,
    component: Arc<str>,
    parent: Arc<Origin>,
    start: Start,
    details: Option<Box<KeyValueDetails>>,
}

struct KeyValueDetails {
    operation: Operation,
    access: Access,
    /// The store's index in `access`.
    bucket: u32,
    /// The store answered without asking its server.
    known: bool,
    failed: bool,
}

impl KeyValueSpan {
    /// Begins the span of an operation of `component` on the store behind `bucket`, as a child of the request `parent`. `None`
    /// where that request is not sampled.
    #[must_use]
    pub fn begin(
        tracer: &Arc<Tracer>,
        component: &Arc<str>,
        parent: Arc<Origin>,
        operation: Operation,
        access: &Access,
        bucket: u32,
    ) -> Option<Self> {
        if !parent.is_sampled() {
            return None;
        }
        let details =
            KeyValueDetails { operation, access: access.clone(), bucket, known: false, failed: false };
        let (tracer, component) = (tracer.clone(), component.clone());
        Some(Self { tracer, component, parent, start: Start::now(), details: Some(Box::new(details)) })
    }

    /// The store has answered without asking its server: the span is not a client's.
    pub fn set_known(&mut self) {
        if let Some(details) = &mut self.details {
            details.known = true;
        }
    }

    /// The operation has failed.
    pub fn set_failed(&mut self) {
        if let Some(details) = &mut self.details {
            details.failed = true;
        }
    }
}

impl Drop for KeyValueSpan {
    fn drop(&mut self) {
        let Some(details) = self.details.take() else { return };
        let parent = Some(self.parent.span_id());
        let component = Some(self.component.clone());
        self.tracer.keep(Span::new(self.parent.child(), parent, component, self.start, details));
    }
}

/// By the stable conventions for databases (<https://opentelemetry.io/docs/specs/semconv/database/>).
impl SpanDetails for KeyValueDetails {
    fn describe(&self, attributes: &mut Attributes) -> SpanSummary {
        let store = self.access.name(self.bucket).unwrap_or_default();
        let system = self.access.store(self.bucket).and_then(Store::system).filter(|_| !self.known);
        let operation = self.operation.as_str();
        attributes.text("db.operation.name", operation);
        attributes.text("wasi_http_host.store", store);
        if let Some(system) = system {
            attributes.text("db.system.name", system);
        }
        if self.failed {
            attributes.text("error.type", OTHER);
        }
        let kind = if system.is_some() { SpanKind::Client } else { SpanKind::Internal };
        SpanSummary { name: format!("{operation} {store}"), kind, is_error: self.failed }
    }
}
