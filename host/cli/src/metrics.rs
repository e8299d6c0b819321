//! The host's metrics as a whole: what each of its parts counted, in the order in which it is written.

use std::sync::Arc;

use wasi_http_host_application::Deployment;
use wasi_http_host_core::{Exposition, MetricKind, labelled_counters};
use wasi_http_host_keyvalue::{self as keyvalue, MemoryStore, RemoteStats};
use wasi_http_host_outbound as outbound;
use wasi_http_host_runtime::MetricsRegistry;
use wasi_http_host_server::ConnectionMetrics;
use wasi_http_host_telemetry::trace::Tracer;

labelled_counters! {
    /// What became of a change of the application or its settings.
    Reload, ReloadCounters {
        /// It is served.
        Done = "done",
        /// It cannot be served, and what was served before still is.
        Failed = "failed",
    }
}

/// What the whole process counts.
#[derive(Debug, Default)]
pub(crate) struct HostMetrics {
    pub(crate) components: Arc<MetricsRegistry>,
    pub(crate) connections: Arc<ConnectionMetrics>,
    pub(crate) reloads: ReloadCounters,
}

impl HostMetrics {
    /// Writes all of it.
    pub(crate) fn expose(&self, to: &mut Exposition) {
        self.components.expose(to);
        self.connections.expose(to);
        let name = "wasi_http_host_reloads_total";
        to.family(name, MetricKind::Counter, "Changes of the application or its settings that were seen.");
        for (outcome, count) in self.reloads.all() {
            to.sample(name, &[("outcome", outcome)], count);
        }
        let name = "wasi_http_host_build_info";
        to.family(name, MetricKind::Gauge, "What runs here.");
        to.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    }
}

/// The statistics of the interfaces that a component imports.
pub(crate) struct InterfaceMetrics {
    /// One a thread.
    pub(crate) keyvalue: Vec<Arc<keyvalue::Stats>>,
    /// One a store.
    pub(crate) remote: Vec<Arc<RemoteStats>>,
    pub(crate) memory: Arc<MemoryStore>,
    /// None where nobody asks for traces.
    pub(crate) tracer: Option<Arc<Tracer>>,
}

impl InterfaceMetrics {
    /// Writes all of them.
    pub(crate) fn expose(&self, to: &mut Exposition, components: &[Arc<Deployment>]) {
        keyvalue::expose_operations(to, &self.keyvalue);
        keyvalue::expose_remote(to, &self.remote);
        keyvalue::expose_memory(to, &self.memory);
        outbound::expose(to, components.iter().map(|one| (&*one.name, &*one.outbound_stats)));
        if let Some(tracer) = &self.tracer {
            tracer.expose(to);
        }
    }
}

#[cfg(test)]
impl InterfaceMetrics {
    /// Every family that there can be, with nothing counted.
    pub(crate) fn example(memory: Arc<MemoryStore>, tracer: Arc<Tracer>) -> Self {
        Self {
            keyvalue: Vec::new(),
            remote: vec![Arc::new(RemoteStats::new("shared"))],
            memory,
            tracer: Some(tracer),
        }
    }
}
