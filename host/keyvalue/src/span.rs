//! The span of an operation on a key-value store.

use std::sync::Arc;

use wasi_http_host_telemetry::trace::{
    Attributes, OTHER, Origin, Span, SpanDetails, SpanKind, SpanSummary, Start, Tracer,
};

use super::{Access, Operation};

/// An operation on a key-value store that is sampled; it is kept when it is dropped.
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
    /// Which of its stores.
    bucket: u32,
    /// A remote store was not asked, for its answer was known here.
    known: bool,
    failed: bool,
}

impl KeyValueSpan {
    /// Begins one for an operation of `component` on the store behind `bucket`, below the request `parent`. `None` where
    /// that is not sampled.
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

    /// What a remote store would say was known.
    pub fn set_known(&mut self) {
        if let Some(details) = &mut self.details {
            details.known = true;
        }
    }

    /// It came to nothing.
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
        let (store, remote) = self.access.describe(self.bucket).unwrap_or_default();
        let remote = remote && !self.known;
        let operation = self.operation.as_str();
        attributes.text("db.operation.name", operation);
        attributes.text("wasi_http_host.store", store);
        if remote {
            attributes.text("db.system.name", "redis");
        }
        if self.failed {
            attributes.text("error.type", OTHER);
        }
        let kind = if remote { SpanKind::Client } else { SpanKind::Internal };
        SpanSummary { name: format!("{operation} {store}"), kind, is_error: self.failed }
    }
}
