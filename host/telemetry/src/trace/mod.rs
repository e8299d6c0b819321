//! Traces: a span a request, children for what its component asks of others, sent by OTLP.
//!
//! ```text
//! server, outbound, keyvalue: a kind of span each ─▶ Span ─▶ Tracer (bounded queue) ─▶ Exporter ─▶ collector
//! ```
//!
//! Without settings there is no [`Tracer`], and a request costs nothing but the look whether there is one. With
//! one, a request that is not sampled costs its identities; attributes are put together by the exporter.

mod attributes;
mod client;
mod context;
mod encode;
mod exporter;
mod queue;
mod sampler;
mod settings;
mod span;
mod transport;

pub use attributes::{Attributes, OTHER};
pub use client::{CollectorClient, Sending};
pub use context::{Origin, trace_id};
pub use exporter::Exporting;
pub use settings::Settings;
pub use span::{
    NAME_BYTES, PATH_BYTES, Server, Span, SpanDetails, SpanKind, SpanSummary, Start, bounded_method,
};

use std::sync::Arc;

use wasi_http_host_core::{Counter, Exposition, MetricKind};

use self::{context::Context, exporter::Exporter, queue::Queue, sampler::Sampler};

/// Traces as settings ask for them, before anything is sent.
pub struct Traces {
    tracer: Arc<Tracer>,
    settings: Settings,
    client: Box<dyn CollectorClient>,
}

impl Traces {
    /// With `client` as the way to the collector.
    #[must_use]
    pub fn new(settings: Settings, client: Box<dyn CollectorClient>) -> Self {
        Self { tracer: Tracer::new(&settings), settings, client }
    }

    /// What records spans.
    #[must_use]
    pub fn tracer(&self) -> Arc<Tracer> {
        self.tracer.clone()
    }

    /// Sends spans from now on, on the runtime that this is called on.
    #[must_use]
    pub fn export(self) -> Exporting {
        Exporter::spawn(self.tracer, self.settings, self.client)
    }
}

/// Decides which traces are recorded, and keeps their spans until they are sent.
pub struct Tracer {
    sampler: Sampler,
    propagate: bool,
    queue: Queue<Span>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    exported: Counter,
    /// The queue was full.
    overflowed: Counter,
    /// The collector could not be reached, or would not have them.
    failed: Counter,
    /// The collector took their batch, and not them.
    rejected: Counter,
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
