//! The host's metrics: those of all subsystems, in the order of the exposition.

use std::sync::Arc;

use wasi_http_host_application::Deployment;
use wasi_http_host_core::{Exposition, Gauge, MetricKind, labelled_counters};
use wasi_http_host_keyvalue::{self as keyvalue, Stores};
use wasi_http_host_outbound::{self as outbound, Outbound};
use wasi_http_host_runtime::MetricsRegistry;
use wasi_http_host_server::ConnectionMetrics;
use wasi_http_host_telemetry::trace::Tracer;

labelled_counters! {
    /// The result of a reload of the application or its settings.
    Reload, ReloadCounters {
        /// The new state is served.
        Done = "done",
        /// The new state cannot be served. The previous state is still served.
        Failed = "failed",
    }
}

/// The metrics of the whole process.
#[derive(Debug, Default)]
pub(crate) struct HostMetrics {
    pub(crate) components: Arc<MetricsRegistry>,
    pub(crate) connections: Arc<ConnectionMetrics>,
    pub(crate) reloads: ReloadCounters,
    /// 1 if instances come from a pool.
    pub(crate) instance_pool: Gauge,
    /// The most bytes that the process takes, by its limits.
    pub(crate) memory_bound: Gauge,
}

impl HostMetrics {
    /// Writes all metrics.
    pub(crate) fn expose(&self, to: &mut Exposition) {
        self.components.expose(to);
        self.connections.expose(to);
        let name = "wasi_http_host_reloads_total";
        to.family(name, MetricKind::Counter, "Reloads of the application or its settings, by outcome.");
        for (outcome, count) in self.reloads.all() {
            to.sample(name, &[("outcome", outcome)], count);
        }
        let name = "wasi_http_host_instance_pool";
        let help = "Whether instances come from a pool (1), or the address space is too small for one (0).";
        to.family(name, MetricKind::Gauge, help);
        to.sample(name, &[], self.instance_pool.get());
        let name = "wasi_http_host_memory_bound_bytes";
        let help = "The most memory that the process takes if it uses all of its limits at once. Idle outbound connections are not included.";
        to.family(name, MetricKind::Gauge, help);
        to.sample(name, &[], self.memory_bound.get());
        let name = "wasi_http_host_build_info";
        to.family(name, MetricKind::Gauge, "The host's version, as a label. The value is always 1.");
        to.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    }
}

/// The metrics of the interfaces that components import.
pub(crate) struct InterfaceMetrics {
    /// One set for each thread.
    pub(crate) keyvalue: Vec<Arc<keyvalue::Stats>>,
    pub(crate) stores: Stores,
    /// `None` during the start.
    pub(crate) outbound: Option<Arc<Outbound>>,
    /// `None` if tracing is off.
    pub(crate) tracer: Option<Arc<Tracer>>,
}

impl InterfaceMetrics {
    /// Writes all metrics.
    pub(crate) fn expose(&self, to: &mut Exposition, components: &[Arc<Deployment>]) {
        keyvalue::expose_operations(to, &self.keyvalue);
        self.stores.expose(to);
        outbound::expose(to, components.iter().map(|one| (&*one.name, &*one.outbound_stats)));
        if let Some(outbound) = &self.outbound {
            outbound.expose(to);
        }
        if let Some(tracer) = &self.tracer {
            tracer.expose(to);
        }
    }
}

#[cfg(test)]
impl InterfaceMetrics {
    /// All metrics that can occur, each with nothing counted.
    pub(crate) fn example(stores: Stores, tracer: Arc<Tracer>) -> Self {
        Self { keyvalue: Vec::new(), stores, outbound: None, tracer: Some(tracer) }
    }
}
