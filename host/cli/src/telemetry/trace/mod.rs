//! Traces: a span a request, children for what its component asks of others, sent by OTLP.
//!
//! ```text
//! server ─ ServerSpan ─▶ Call ─▶ Calls (instance: whose task is whose request) ─▶ ClientSpan, KeyValueSpan
//!                                       spans that are over ─▶ Tracer (bounded queue) ─▶ Exporter ─▶ collector
//! ```
//!
//! Without settings there is no [`Tracer`], and a request meets nothing of this but the look whether there is one. With
//! one, a request that is not sampled costs its identities; attributes are put together by the [`Exporter`].

mod calls;
mod context;
mod encode;
mod exporter;
mod queue;
mod sampler;
mod settings;
mod span;
mod transport;

pub(crate) use calls::Calls;
pub(crate) use context::{Origin, trace_id};
pub(crate) use exporter::Exporting;
pub(crate) use settings::Settings;
pub(crate) use span::{ClientSpan, Ended, KeyValueSpan, ServerSpan};

use std::sync::Arc;

use self::{context::Context, exporter::Exporter, queue::Queue, sampler::Sampler, span::Span};
use super::{
    exposition::{Exposition, Kind},
    metrics::Counter,
};
use crate::outbound::{Direct, Outbound};

/// Traces as settings ask for them, before anything is sent.
pub(crate) struct Traces {
    tracer: Arc<Tracer>,
    settings: Settings,
    client: Direct,
}

impl Traces {
    /// With `outbound` as the way to the collector.
    pub(crate) fn new(settings: Settings, outbound: Outbound) -> Self {
        let client = Direct::new(Arc::new(outbound), settings.needs_http2());
        Self { tracer: Tracer::new(&settings), settings, client }
    }

    pub(crate) fn tracer(&self) -> Arc<Tracer> {
        self.tracer.clone()
    }

    /// Sends spans from now on, on the runtime that this is called on.
    pub(crate) fn export(self) -> Exporting {
        Exporter::spawn(self.tracer, self.settings, self.client)
    }
}

/// Decides which traces are recorded, and keeps their spans until they are sent.
pub(crate) struct Tracer {
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
    fn new(settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            sampler: settings.sampler,
            propagate: settings.propagate,
            queue: Queue::new(settings.batch),
            counts: Counts::default(),
        })
    }

    /// A span's identity below `parent`; without one, a new trace's.
    fn identify(&self, parent: Option<&Origin>) -> Origin {
        let context = parent.map_or_else(Context::root, |parent| parent.context.child());
        let sampled = self.sampler.samples(&context, parent);
        Origin {
            context: Context { sampled, ..context },
            state: parent.and_then(|parent| parent.state.clone()),
        }
    }

    /// Keeps a span that is over, if there is room.
    fn keep(&self, span: Span) {
        if !self.queue.push(span) {
            self.counts.overflowed.inc();
        }
    }

    /// Writes what has become of spans.
    pub(crate) fn expose(&self, to: &mut Exposition) {
        let name = "wasi_http_host_trace_spans_queued";
        to.gauge(name, "Spans that wait to be sent.", self.queue.len());
        let name = "wasi_http_host_trace_spans_exported_total";
        to.counter(name, "Spans that the collector has taken.", self.counts.exported.get());
        let name = "wasi_http_host_trace_spans_dropped_total";
        to.family(name, Kind::Counter, "Spans that nobody will see, by the reason.");
        for (reason, count) in [
            ("queue_full", &self.counts.overflowed),
            ("export_failed", &self.counts.failed),
            ("rejected", &self.counts.rejected),
        ] {
            to.sample(name, &[("reason", reason)], count.get());
        }
    }
}
