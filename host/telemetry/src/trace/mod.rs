//! Traces: one span for each request, and child spans for the component's outbound requests and store operations.
//! The exporter sends spans by OTLP.
//!
//! ```text
//! server, outbound, keyvalue: a kind of span each ─▶ Span ─▶ Tracer (bounded queue) ─▶ Exporter ─▶ collector
//! ```
//!
//! Without settings there is no [`Tracer`], and a request only checks whether there is one. With a tracer, a
//! request that is not sampled only costs its ids. The exporter builds the attributes, not the threads that serve
//! requests.

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

/// The tracer, the settings and the client, before the exporter starts.
pub struct Traces {
    tracer: Arc<Tracer>,
    settings: Settings,
    client: Box<dyn CollectorClient>,
}

impl Traces {
    /// Creates the tracer. The exporter will send spans to the collector with `client`.
    #[must_use]
    pub fn new(settings: Settings, client: Box<dyn CollectorClient>) -> Self {
        Self { tracer: Tracer::new(&settings), settings, client }
    }

    /// Returns the tracer, which records spans.
    #[must_use]
    pub fn tracer(&self) -> Arc<Tracer> {
        self.tracer.clone()
    }

    /// Starts the exporter on the current runtime.
    #[must_use]
    pub fn export(self) -> Exporting {
        Exporter::spawn(self.tracer, self.settings, self.client)
    }
}
