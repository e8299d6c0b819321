//! What is counted of the process, and all of it in the form that Prometheus reads.

use std::sync::{Arc, Mutex, Weak};

use super::{
    Counter, Gauge,
    component::{BOUNDS_US, Metrics, WorkerMetrics},
    labels,
};
use crate::{
    sync::lock,
    telemetry::exposition::{Exposition, Kind},
};

labels! {
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
    /// By the order in which they were first served.
    components: Mutex<Vec<Weak<Metrics>>>,
    /// Open connections, one gauge a thread.
    threads: Mutex<Vec<Arc<Gauge>>>,
    /// Requests for paths that no route leads from.
    unrouted: Arc<Metrics>,
    pub(crate) reloads: ReloadCounters,
    pub(crate) connections_accepted: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) connection_errors: Counter,
}

impl HostMetrics {
    /// What is counted of the component of this name: the same as before, as long as anything of it still runs.
    pub(crate) fn component(&self, name: &str) -> Arc<Metrics> {
        let mut components = lock(&self.components);
        components.retain(|component| component.strong_count() > 0);
        let known = components.iter().filter_map(Weak::upgrade).find(|metrics| metrics.component() == name);
        if let Some(metrics) = known {
            return metrics;
        }
        let metrics = Metrics::new(name);
        components.push(Arc::downgrade(&metrics));
        metrics
    }

    /// What is counted of requests without a component.
    pub(crate) fn unrouted(&self) -> Arc<Metrics> {
        self.unrouted.clone()
    }

    /// What a new thread counts its connections in.
    pub(crate) fn thread(&self) -> Arc<Gauge> {
        let connections = Arc::new(Gauge::default());
        lock(&self.threads).push(connections.clone());
        connections
    }

    /// Writes all of it.
    pub(crate) fn expose(&self, to: &mut Exposition) {
        let mut components: Vec<_> = lock(&self.components).iter().filter_map(Weak::upgrade).collect();
        let connections = lock(&self.threads).iter().map(|connections| connections.get()).sum::<i64>();
        components.push(self.unrouted.clone());
        let mut all: Vec<_> = components.iter().map(|metrics| Seen::of(metrics)).collect();
        all.pop_if(|unrouted| unrouted.requests() == 0);
        requests(to, &all);
        instances(to, &all);

        let prefix = "wasi_http_host";
        to.gauge(&format!("{prefix}_connections_open"), "Open connections.", connections);
        to.counter(
            &format!("{prefix}_connections_total"),
            "Connections accepted.",
            self.connections_accepted.get(),
        );
        to.counter(
            &format!("{prefix}_accept_errors_total"),
            "Failures to accept one.",
            self.accept_errors.get(),
        );
        to.counter(
            &format!("{prefix}_connection_errors_total"),
            "Connections that ended by a malformed head, a limit of time, or a break.",
            self.connection_errors.get(),
        );
        let name = "wasi_http_host_reloads_total";
        to.family(name, Kind::Counter, "Changes of the application or its settings that were seen.");
        for (outcome, count) in self.reloads.all() {
            to.sample(name, &[("outcome", outcome)], count);
        }
        let name = "wasi_http_host_build_info";
        to.family(name, Kind::Gauge, "What runs here.");
        to.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    }
}

/// A component's metrics with its threads at hand.
struct Seen<'a> {
    metrics: &'a Metrics,
    workers: Vec<Arc<WorkerMetrics>>,
}

impl<'a> Seen<'a> {
    fn of(metrics: &'a Metrics) -> Self {
        Self { metrics, workers: metrics.workers() }
    }

    fn label(&self) -> (&'static str, &'a str) {
        ("component", self.metrics.component())
    }

    fn sum(&self, of: fn(&WorkerMetrics) -> u64) -> u64 {
        self.workers.iter().map(|worker| of(worker)).sum()
    }

    fn requests(&self) -> u64 {
        self.sum(|worker| worker.aborted.get() + worker.by_class.iter().map(Counter::get).sum::<u64>())
    }
}

/// One sample a component.
fn each<V: std::fmt::Display>(
    to: &mut Exposition,
    (name, kind, help): (&str, Kind, &str),
    all: &[Seen<'_>],
    value: impl Fn(&Seen<'_>) -> V,
) {
    let name = format!("wasi_http_host_{name}");
    to.family(&name, kind, help);
    for seen in all {
        to.sample(&name, &[seen.label()], value(seen));
    }
}

fn requests(to: &mut Exposition, all: &[Seen<'_>]) {
    let name = "wasi_http_host_requests_total";
    to.family(
        name,
        Kind::Counter,
        "Requests that are over, by the class of their status; aborted: the client left.",
    );
    for seen in all {
        for (at, class) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().enumerate() {
            let threads = seen.workers.iter().filter_map(|worker| worker.by_class.get(at));
            to.sample(name, &[seen.label(), ("status", class)], threads.map(Counter::get).sum::<u64>());
        }
        to.sample(name, &[seen.label(), ("status", "aborted")], seen.sum(|worker| worker.aborted.get()));
    }

    let name = "wasi_http_host_request_duration_seconds";
    to.family(name, Kind::Histogram, "From a request's head to the last byte of its response.");
    for seen in all {
        let mut below = 0;
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds for people: 53 bits of microseconds are 285 years"
        )]
        let buckets: Vec<_> = (BOUNDS_US.iter().enumerate())
            .map(|(at, bound)| {
                let threads = seen.workers.iter().filter_map(|worker| worker.buckets.get(at));
                below += threads.map(Counter::get).sum::<u64>();
                (*bound as f64 / 1e6, below)
            })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let seconds = seen.sum(|worker| worker.duration_us.get()) as f64 / 1e6;
        to.histogram(name, &[seen.label()], &buckets, seconds, seen.requests());
    }

    each(to, ("requests_active", Kind::Gauge, "Requests being served."), all, |seen| {
        seen.workers.iter().map(|worker| worker.active.get()).sum::<i64>()
    });
    each(to, ("requests_queued", Kind::Gauge, "Requests that wait for a place."), all, |seen| {
        seen.metrics.queued.get()
    });
    let name = "wasi_http_host_requests_rejected_total";
    to.family(name, Kind::Counter, "Requests that never reached the component.");
    for seen in all {
        for (reason, count) in seen.metrics.rejected.all() {
            to.sample(name, &[seen.label(), ("reason", reason)], count);
        }
    }
}

fn instances(to: &mut Exposition, all: &[Seen<'_>]) {
    each(to, ("instances_live", Kind::Gauge, "Instances that live."), all, |seen| {
        seen.metrics.instances_live.get()
    });
    each(to, ("instances_created_total", Kind::Counter, "Instances made."), all, |seen| {
        seen.metrics.instances_created.get()
    });
    let help = "Requests that an instance served after its first.";
    each(to, ("instances_reused_total", Kind::Counter, help), all, |seen| {
        seen.sum(|worker| worker.reused.get())
    });
    let name = "wasi_http_host_instances_ended_total";
    to.family(name, Kind::Counter, "Instances that ended, by the reason.");
    for seen in all {
        for (reason, count) in seen.metrics.instances_ended.all() {
            to.sample(name, &[seen.label(), ("reason", reason)], count);
        }
    }
    let name = "wasi_http_host_traps_total";
    to.family(name, Kind::Counter, "Traps, by kind.");
    for seen in all {
        for (kind, count) in seen.metrics.traps() {
            to.sample(name, &[seen.label(), ("kind", &kind)], count);
        }
    }
    let help = "Requests that ended because another in their instance did.";
    each(to, ("sibling_requests_ended_total", Kind::Counter, help), all, |seen| seen.metrics.siblings.get());
    each(to, ("guest_memory_bytes", Kind::Gauge, "Linear memory of all instances."), all, |seen| {
        seen.metrics.guest_memory.get()
    });
    let help = "Requests for memory beyond an instance's ceiling.";
    each(to, ("guest_memory_refused_total", Kind::Counter, help), all, |seen| {
        seen.metrics.memory_refused.get()
    });
    let help = "What guests printed beyond the limit.";
    each(to, ("guest_output_dropped_bytes_total", Kind::Counter, help), all, |seen| {
        seen.metrics.guest_bytes_dropped.get()
    });
}
