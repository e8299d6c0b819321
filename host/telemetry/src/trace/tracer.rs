//! Which traces are recorded, and the spans of them that wait to be sent.

use std::sync::Arc;

use wasi_http_host_core::{Counter, Exposition, MetricKind};

use super::{
    context::{Context, Origin},
    queue::Queue,
    sampler::Sampler,
    settings::Settings,
    span::Span,
};

/// Decides which traces are recorded, and keeps their spans until they are sent.
pub struct Tracer {
    sampler: Sampler,
    propagate: bool,
    pub(super) queue: Queue<Span>,
    pub(super) counts: Counts,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) exported: Counter,
    /// The queue was full.
    overflowed: Counter,
    /// The collector could not be reached, or would not have them.
    pub(super) failed: Counter,
    /// The collector took their batch, and not them.
    pub(super) rejected: Counter,
}

impl Tracer {
    /// A tracer under `settings`, whose spans nobody sends so far.
    #[must_use]
    pub fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            sampler: settings.sampler,
            propagate: settings.propagate,
            queue: Queue::new(settings.batch),
            counts: Counts::default(),
        })
    }

    /// Whether `traceparent` is read from and written to headers.
    #[must_use]
    pub fn propagates(&self) -> bool {
        self.propagate
    }

    /// A span's identity below `parent`; without one, a new trace's.
    #[must_use]
    pub fn identify(&self, parent: Option<&Origin>) -> Origin {
        let context = parent.map_or_else(Context::root, |parent| parent.context.child());
        let sampled = self.sampler.samples(&context, parent);
        Origin {
            context: Context { sampled, ..context },
            state: parent.and_then(|parent| parent.state.clone()),
        }
    }

    /// Keeps a span that is over, if there is room.
    pub fn keep(&self, span: Span) {
        if !self.queue.push(span) {
            self.counts.overflowed.inc();
        }
    }

    /// Writes what has become of spans.
    pub fn expose(&self, to: &mut Exposition) {
        let name = "wasi_http_host_trace_spans_queued";
        to.gauge(name, "Spans that wait to be sent.", self.queue.len());
        let name = "wasi_http_host_trace_spans_exported_total";
        to.counter(name, "Spans that the collector has taken.", self.counts.exported.get());
        let name = "wasi_http_host_trace_spans_dropped_total";
        to.family(name, MetricKind::Counter, "Spans that nobody will see, by the reason.");
        for (reason, count) in [
            ("queue_full", &self.counts.overflowed),
            ("export_failed", &self.counts.failed),
            ("rejected", &self.counts.rejected),
        ] {
            to.sample(name, &[("reason", reason)], count.get());
        }
    }
}
