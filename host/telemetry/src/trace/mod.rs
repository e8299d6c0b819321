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
mod server;
mod settings;
mod span;
mod tracer;
mod transport;

pub use attributes::{Attributes, OTHER};
pub use client::{CollectorClient, Sending};
pub use context::{Origin, trace_id};
pub use exporter::Exporting;
pub use server::{NAME_BYTES, Server};
pub use settings::Settings;
pub use span::{PATH_BYTES, Span, SpanDetails, SpanKind, SpanSummary, Start, bounded_method};
pub use tracer::Tracer;

use std::sync::Arc;

use self::exporter::Exporter;

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
