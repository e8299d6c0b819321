//! The tracer: decides which traces are recorded, and queues their spans.

use std::sync::Arc;

use wasi_http_host_core::{Counter, Exposition, MetricKind};

use super::{
    context::{Context, Origin},
    queue::Queue,
    sampler::Sampler,
    settings::Settings,
    span::Span,
};

/// Decides which traces are recorded, and queues their spans until the exporter sends them.
pub struct Tracer {
    sampler: Sampler,
    propagate: bool,
    pub(super) queue: Queue<Span>,
    pub(super) counts: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) exported: Counter,
    /// Spans dropped because the queue was full.
    overflowed: Counter,
    /// Spans dropped because the collector could not be reached or refused their batch.
    pub(super) failed: Counter,
    /// Spans that the collector rejected from a batch that it accepted.
    pub(super) rejected: Counter,
}

impl Tracer {
    /// Creates a tracer. No exporter sends its spans yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            sampler: settings.sampler,
            propagate: settings.propagate,
            queue: Queue::new(settings.batch),
            counts: Counts::default(),
        })
    }

    /// Whether the host reads `traceparent` from requests and writes it to requests.
    #[must_use]
    pub fn propagates(&self) -> bool {
        self.propagate
    }

    /// Creates the identity of a child of `parent`. Without a parent, creates the root of a new trace. Decides
    /// whether the span is recorded.
    #[must_use]
    pub fn identify(&self, parent: Option<&Origin>) -> Origin {
        let context = parent.map_or_else(Context::root, |parent| parent.context.child());
        let sampled = self.sampler.samples(&context, parent);
        Origin {
            context: Context { sampled, ..context },
            state: parent.and_then(|parent| parent.state.clone()),
        }
    }

    /// Queues a finished span. If the queue is full, the span is dropped and counted.
    pub fn keep(&self, span: Span) {
        if !self.queue.push(span) {
            self.counts.overflowed.inc();
        }
    }

    /// Writes the metrics of queued, exported and dropped spans.
    pub fn expose(&self, to: &mut Exposition) {
        let name = "wasi_http_host_trace_spans_queued";
        to.gauge(name, "Spans that wait to be sent.", self.queue.len());
        let name = "wasi_http_host_trace_spans_exported_total";
        to.counter(name, "Spans that the collector has accepted.", self.counts.exported.get());
        let name = "wasi_http_host_trace_spans_dropped_total";
        to.family(name, MetricKind::Counter, "Spans that were dropped, by reason.");
        for (reason, count) in [
            ("queue_full", &self.counts.overflowed),
            ("export_failed", &self.counts.failed),
            ("rejected", &self.counts.rejected),
        ] {
            to.sample(name, &[("reason", reason)], count.get());
        }
    }
}
