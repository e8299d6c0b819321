//! Metrics of components. They outlive a reload: a new version of a component continues the same counters.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use wasi_http_host_cache::{Outcome, OutcomeCounters};
use wasi_http_host_core::{Counter, Exposition, Gauge, LogThrottle, MetricKind, labelled_counters, lock};

/// Upper bounds of the latency histogram, in microseconds: from a cached response to the longest timeouts.
const BOUNDS_US: [u64; 18] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];
/// The most kinds of traps with a label of their own. wasmtime has fewer kinds, and a set of labels must be bounded.
const MAX_TRAP_KINDS: usize = 64;

labelled_counters! {
    /// Why an instance ended.
    EndReason, EndCounters {
        /// The instance served its maximum number of requests, or the host shuts down.
        Finished = "finished",
        /// The instance had no work for the idle timeout.
        Idle = "idle",
        /// The instance's background tasks took too long.
        Abandoned = "background_timeout",
        /// A request in the instance took too long.
        TimedOut = "request_timeout",
        /// The client of a proxy's request left before the response's head.
        ClientLeft = "client_left",
        /// The instance trapped.
        Trapped = "trap",
    }
}

labelled_counters! {
    /// Why a request was not given to the component.
    Rejection, RejectionCounters {
        /// The queue is full.
        QueueFull = "queue_full",
        /// The request waited too long for admission.
        QueueTimeout = "queue_timeout",
        /// No instance became free, and none could be created, in time.
        NoInstance = "no_instance",
        /// The request's head is not valid.
        BadRequest = "bad_request",
        /// The request's body is larger than allowed.
        BodyTooLarge = "body_too_large",
    }
}

/// What one thread counts of a component's requests.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct WorkerMetrics {
    by_class: [Counter; 5],
    aborted: Counter,
    buckets: [Counter; BOUNDS_US.len()],
    duration_us: Counter,
    /// Requests in flight.
    pub active: Gauge,
    /// Requests that were not the first of their instance.
    pub reused: Counter,
    /// Requests in which the response cache took part, by outcome.
    pub cached: OutcomeCounters,
}

impl WorkerMetrics {
    /// Counts a request that is complete. `status` is `None` if no response could be sent.
    pub fn request(&self, status: Option<http::StatusCode>, duration: Duration) {
        let class =
            status.and_then(|status| self.by_class.get(usize::from(status.as_u16() / 100).wrapping_sub(1)));
        class.unwrap_or(&self.aborted).inc();
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.duration_us.inc_by(us);
        if let Some(bucket) = self.buckets.get(BOUNDS_US.partition_point(|bound| *bound < us)) {
            bucket.inc();
        }
    }
}

/// The metrics of one component.
#[derive(Debug, Default)]
pub struct ComponentMetrics {
    component: String,
    /// The counters of each thread, by the thread's number.
    workers: Mutex<Vec<Arc<WorkerMetrics>>>,
    traps: Mutex<BTreeMap<String, u64>>,
    /// Limits the log lines about requests that failed.
    pub failures: LogThrottle,
    /// Requests that wait for admission.
    pub queued: Gauge,
    /// Requests that were rejected before they reached the component, by reason.
    pub rejected: RejectionCounters,
    /// Instances that are alive.
    pub instances_live: Gauge,
    /// Instances that were created.
    pub instances_created: Counter,
    /// Instances that ended.
    pub instances_ended: EndCounters,
    /// Requests that failed in an instance of WASI 0.2 that had served others.
    pub reuse_failures: Counter,
    /// Times that the host stopped reusing the component's instances.
    pub reuse_stopped: Counter,
    /// Requests that failed because another request in their instance failed.
    pub siblings: Counter,
    /// Bytes of linear memory of all instances.
    pub guest_memory: Gauge,
    /// Times that an instance asked for memory beyond its limit.
    pub memory_refused: Counter,
    /// Times that an instance's handles kept more of the host's memory than its budget.
    pub handle_memory_refused: Counter,
    /// Bytes that guests printed beyond the budget.
    pub guest_bytes_dropped: Counter,
}

impl ComponentMetrics {
    /// Metrics for the component of this name.
    pub fn new(component: &str) -> Arc<Self> {
        Arc::new(Self { component: component.to_owned(), ..Self::default() })
    }

    /// The component's name.
    pub fn component(&self) -> &str {
        &self.component
    }

    /// The counters of the thread with this number.
    pub fn worker(&self, thread: usize) -> Arc<WorkerMetrics> {
        let mut workers = lock(&self.workers);
        while workers.len() <= thread {
            workers.push(Arc::default());
        }
        workers.get(thread).cloned().unwrap_or_default()
    }

    /// Counts a trap. `kind` is wasmtime's name of the trap. After 64 kinds, further kinds count as `other`.
    pub fn count_trap(&self, kind: &str) {
        let mut traps = lock(&self.traps);
        let kind = if traps.len() < MAX_TRAP_KINDS || traps.contains_key(kind) { kind } else { "other" };
        *traps.entry(kind.to_owned()).or_default() += 1;
    }

    fn workers(&self) -> Vec<Arc<WorkerMetrics>> {
        lock(&self.workers).clone()
    }

    fn traps(&self) -> BTreeMap<String, u64> {
        lock(&self.traps).clone()
    }
}

/// The metrics of all components of the process.
#[derive(Debug, Default)]
pub struct MetricsRegistry {
    /// In the order in which the components were first served.
    components: Mutex<Vec<Weak<ComponentMetrics>>>,
    /// Requests for paths that match no route.
    unrouted: Arc<ComponentMetrics>,
}

impl MetricsRegistry {
    /// The metrics of the component of this name. They are the same object for as long as any part of the component
    /// still runs.
    pub fn component(&self, name: &str) -> Arc<ComponentMetrics> {
        let mut components = lock(&self.components);
        components.retain(|component| component.strong_count() > 0);
        let known = components.iter().filter_map(Weak::upgrade).find(|metrics| metrics.component() == name);
        if let Some(metrics) = known {
            return metrics;
        }
        let metrics = ComponentMetrics::new(name);
        components.push(Arc::downgrade(&metrics));
        metrics
    }

    /// The metrics of requests that match no component.
    #[must_use]
    pub fn unrouted(&self) -> Arc<ComponentMetrics> {
        self.unrouted.clone()
    }

    /// Writes the metrics of each component, and those of unrouted requests if there were any.
    pub fn expose(&self, to: &mut Exposition) {
        let mut components: Vec<_> = lock(&self.components).iter().filter_map(Weak::upgrade).collect();
        components.push(self.unrouted.clone());
        let mut all: Vec<_> = components.iter().map(|metrics| Seen::of(metrics)).collect();
        all.pop_if(|unrouted| unrouted.requests() == 0);
        requests(to, &all);
        instances(to, &all);
    }
}

/// A component's metrics with the counters of its threads.
struct Seen<'a> {
    metrics: &'a ComponentMetrics,
    workers: Vec<Arc<WorkerMetrics>>,
}

impl<'a> Seen<'a> {
    fn of(metrics: &'a ComponentMetrics) -> Self {
        Self { metrics, workers: metrics.workers() }
    }

    fn label(&self) -> (&'static str, &'a str) {
        ("component", self.metrics.component())
    }

    fn sum(&self, of: impl Fn(&WorkerMetrics) -> u64) -> u64 {
        self.workers.iter().map(|worker| of(worker)).sum()
    }

    fn requests(&self) -> u64 {
        self.sum(|worker| worker.aborted.get() + worker.by_class.iter().map(Counter::get).sum::<u64>())
    }
}

/// One sample for each component.
fn each<V: std::fmt::Display>(
    to: &mut Exposition,
    (name, kind, help): (&str, MetricKind, &str),
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
        MetricKind::Counter,
        "Finished requests, by status class. aborted: the client closed the connection.",
    );
    for seen in all {
        for (at, class) in ["1xx", "2xx", "3xx", "4xx", "5xx"].iter().enumerate() {
            let threads = seen.workers.iter().filter_map(|worker| worker.by_class.get(at));
            to.sample(name, &[seen.label(), ("status", class)], threads.map(Counter::get).sum::<u64>());
        }
        to.sample(name, &[seen.label(), ("status", "aborted")], seen.sum(|worker| worker.aborted.get()));
    }

    cached(to, all);

    let name = "wasi_http_host_request_duration_seconds";
    to.family(name, MetricKind::Histogram, "Time from a request's head to the last byte of its response.");
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

    each(to, ("requests_active", MetricKind::Gauge, "Requests in flight."), all, |seen| {
        seen.workers.iter().map(|worker| worker.active.get()).sum::<i64>()
    });
    each(to, ("requests_queued", MetricKind::Gauge, "Requests that wait for admission."), all, |seen| {
        seen.metrics.queued.get()
    });
    let name = "wasi_http_host_requests_rejected_total";
    to.family(
        name,
        MetricKind::Counter,
        "Requests that were rejected before they reached the component, by reason.",
    );
    for seen in all {
        for (reason, count) in seen.metrics.rejected.all() {
            to.sample(name, &[seen.label(), ("reason", reason)], count);
        }
    }
}

/// Requests in which the response cache took part. Without a cache, there are none.
fn cached(to: &mut Exposition, all: &[Seen<'_>]) {
    let name = "wasi_http_host_response_cache_requests_total";
    let help = "Requests in which the response cache took part, by outcome: hit, stale, validated and collapsed were answered \
                out of the cache.";
    to.family(name, MetricKind::Counter, help);
    for seen in all {
        for outcome in Outcome::ALL {
            let count = seen.sum(|worker| worker.cached.get(outcome));
            to.sample(name, &[seen.label(), ("outcome", outcome.as_str())], count);
        }
    }
}

fn instances(to: &mut Exposition, all: &[Seen<'_>]) {
    each(to, ("instances_live", MetricKind::Gauge, "Instances that exist now."), all, |seen| {
        seen.metrics.instances_live.get()
    });
    each(to, ("instances_created_total", MetricKind::Counter, "Instances created."), all, |seen| {
        seen.metrics.instances_created.get()
    });
    let help = "Requests that reused an instance: all but the first of each instance.";
    each(to, ("instances_reused_total", MetricKind::Counter, help), all, |seen| {
        seen.sum(|worker| worker.reused.get())
    });
    let help = "Requests to a component of WASI 0.2 that failed in an instance that had served others.";
    each(to, ("reused_instance_failures_total", MetricKind::Counter, help), all, |seen| {
        seen.metrics.reuse_failures.get()
    });
    let help = "Times that the host stopped reusing the instances of a component of WASI 0.2, because the first \
                request to a reused instance failed.";
    each(to, ("instance_reuse_stopped_total", MetricKind::Counter, help), all, |seen| {
        seen.metrics.reuse_stopped.get()
    });
    let name = "wasi_http_host_instances_ended_total";
    to.family(name, MetricKind::Counter, "Instances that ended, by reason.");
    for seen in all {
        for (reason, count) in seen.metrics.instances_ended.all() {
            to.sample(name, &[seen.label(), ("reason", reason)], count);
        }
    }
    let name = "wasi_http_host_traps_total";
    to.family(name, MetricKind::Counter, "WebAssembly traps, by kind.");
    for seen in all {
        for (kind, count) in seen.metrics.traps() {
            to.sample(name, &[seen.label(), ("kind", &kind)], count);
        }
    }
    let help = "Requests that ended because another request ended their instance.";
    each(to, ("sibling_requests_ended_total", MetricKind::Counter, help), all, |seen| {
        seen.metrics.siblings.get()
    });
    each(to, ("guest_memory_bytes", MetricKind::Gauge, "Linear memory of all instances."), all, |seen| {
        seen.metrics.guest_memory.get()
    });
    let help = "Times that the host refused to grow a linear memory, because of the instance's limit.";
    each(to, ("guest_memory_refused_total", MetricKind::Counter, help), all, |seen| {
        seen.metrics.memory_refused.get()
    });
    let help =
        "Times that an instance ended because its handles kept more of the host's memory than its budget.";
    each(to, ("handle_memory_refused_total", MetricKind::Counter, help), all, |seen| {
        seen.metrics.handle_memory_refused.get()
    });
    let help = "Bytes of log lines with guest output that were dropped because of the rate limit.";
    each(to, ("guest_output_dropped_bytes_total", MetricKind::Counter, help), all, |seen| {
        seen.metrics.guest_bytes_dropped.get()
    });
}
