//! What is counted. Each thread counts its requests in memory of its own, so that cores do not contend for it; a
//! scrape adds them up.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::exposition::{Exposition, Kind};
use crate::sync::lock;

/// Upper bounds of the latency histogram, in microseconds: from a cached answer to the longest time limits.
const BOUNDS_US: [u64; 18] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];
/// Kinds of traps that are told apart: wasmtime has fewer, and a label set must be bounded all the same.
const MAX_TRAP_KINDS: usize = 64;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn inc(&self) {
        self.inc_by(1);
    }

    pub(crate) fn inc_by(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    pub(crate) fn inc(&self) {
        self.add(1);
    }

    pub(crate) fn dec(&self) {
        self.sub(1);
    }

    pub(crate) fn add(&self, n: i64) {
        self.0.fetch_add(n, Relaxed);
    }

    pub(crate) fn sub(&self, n: i64) {
        self.0.fetch_sub(n, Relaxed);
    }

    pub(crate) fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// Declares an enum whose values are a label's, and a set of counters indexed by it.
macro_rules! labels {
    ($(#[$doc:meta])* $name:ident, $counters:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$variant_doc])* $variant,)+ }

        #[derive(Debug, Default)]
        #[expect(non_snake_case, reason = "one counter a variant, by its name")]
        pub(crate) struct $counters { $($variant: Counter,)+ }

        impl $counters {
            pub(crate) fn count(&self, by: $name) {
                match by { $($name::$variant => self.$variant.inc(),)+ }
            }

            fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$(($label, self.$variant.get()),)+].into_iter()
            }
        }
    };
}

labels! {
    /// Why an instance ended.
    EndReason, EndCounters {
        /// It had served as many requests as it may, or the host shuts down.
        Finished = "finished",
        /// It had no work for a while.
        Idle = "idle",
        /// Its background tasks took too long.
        Abandoned = "background_timeout",
        /// A request in it took too long.
        TimedOut = "request_timeout",
        /// It trapped.
        Trapped = "trap",
    }
}

labels! {
    /// Why a request was not given to the component.
    Rejection, RejectionCounters {
        /// As many wait already as may.
        QueueFull = "queue_full",
        /// It waited too long for a place.
        QueueTimeout = "queue_timeout",
        /// No instance became free, or could be made, in time.
        NoInstance = "no_instance",
        /// Its head was not acceptable.
        BadRequest = "bad_request",
        /// Its body is larger than allowed.
        BodyTooLarge = "body_too_large",
    }
}

/// What one thread counts of its requests.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerMetrics {
    by_class: [Counter; 5],
    aborted: Counter,
    buckets: [Counter; BOUNDS_US.len()],
    duration_us: Counter,
    pub(crate) active: Gauge,
    pub(crate) reused: Counter,
    pub(crate) connections: Gauge,
}

impl WorkerMetrics {
    /// A request is over. Without a status, nothing could be answered.
    pub(crate) fn request(&self, status: Option<http::StatusCode>, duration: Duration) {
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

/// What the whole process counts.
#[derive(Debug)]
pub(crate) struct Metrics {
    component: String,
    workers: Mutex<Vec<Arc<WorkerMetrics>>>,
    traps: Mutex<BTreeMap<String, u64>>,
    pub(crate) queued: Gauge,
    pub(crate) rejected: RejectionCounters,
    pub(crate) instances_live: Gauge,
    pub(crate) instances_created: Counter,
    pub(crate) instances_ended: EndCounters,
    /// Requests that ended because another one in their instance did.
    pub(crate) siblings: Counter,
    pub(crate) guest_memory: Gauge,
    pub(crate) memory_refused: Counter,
    pub(crate) guest_bytes_dropped: Counter,
    pub(crate) connections_accepted: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) connection_errors: Counter,
}

impl Metrics {
    /// For the component of this name.
    pub(crate) fn new(component: &str) -> Arc<Self> {
        Arc::new(Self {
            component: component.to_owned(),
            workers: Mutex::default(),
            traps: Mutex::default(),
            queued: Gauge::default(),
            rejected: RejectionCounters::default(),
            instances_live: Gauge::default(),
            instances_created: Counter::default(),
            instances_ended: EndCounters::default(),
            siblings: Counter::default(),
            guest_memory: Gauge::default(),
            memory_refused: Counter::default(),
            guest_bytes_dropped: Counter::default(),
            connections_accepted: Counter::default(),
            accept_errors: Counter::default(),
            connection_errors: Counter::default(),
        })
    }

    /// What a new thread counts in.
    pub(crate) fn worker(&self) -> Arc<WorkerMetrics> {
        let worker = Arc::new(WorkerMetrics::default());
        lock(&self.workers).push(worker.clone());
        worker
    }

    pub(crate) fn count_trap(&self, kind: &str) {
        let mut traps = lock(&self.traps);
        let kind = if traps.len() < MAX_TRAP_KINDS || traps.contains_key(kind) { kind } else { "other" };
        *traps.entry(kind.to_owned()).or_default() += 1;
    }

    /// Writes all of it.
    pub(crate) fn expose(&self, to: &mut Exposition) {
        let workers = lock(&self.workers).clone();
        let component = ("component", &*self.component);
        let sum = |of: fn(&WorkerMetrics) -> u64| workers.iter().map(|worker| of(worker)).sum::<u64>();
        let level = |of: fn(&WorkerMetrics) -> i64| workers.iter().map(|worker| of(worker)).sum::<i64>();

        let name = "wasi_http_host_requests_total";
        to.family(
            name,
            Kind::Counter,
            "Requests that are over, by the class of their status; aborted: the client left.",
        );
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        for (at, class) in classes.iter().enumerate() {
            let count =
                workers.iter().filter_map(|worker| worker.by_class.get(at)).map(Counter::get).sum::<u64>();
            to.sample(name, &[component, ("status", class)], count);
        }
        to.sample(name, &[component, ("status", "aborted")], sum(|worker| worker.aborted.get()));

        let name = "wasi_http_host_request_duration_seconds";
        to.family(name, Kind::Histogram, "From a request's head to the last byte of its response.");
        let mut below = 0;
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds for people: 53 bits of microseconds are 285 years"
        )]
        let buckets: Vec<_> = (BOUNDS_US.iter().enumerate())
            .map(|(at, bound)| {
                below +=
                    workers.iter().filter_map(|worker| worker.buckets.get(at)).map(Counter::get).sum::<u64>();
                (*bound as f64 / 1e6, below)
            })
            .collect();
        let total =
            workers.iter().map(|worker| worker.by_class.iter().map(Counter::get).sum::<u64>()).sum::<u64>()
                + sum(|worker| worker.aborted.get());
        #[expect(clippy::cast_precision_loss, reason = "as above")]
        let seconds = sum(|worker| worker.duration_us.get()) as f64 / 1e6;
        to.histogram(name, &[component], &buckets, seconds, total);

        let prefix = "wasi_http_host";
        to.gauge(&format!("{prefix}_requests_active"), "Requests being served.", level(|w| w.active.get()));
        to.gauge(&format!("{prefix}_requests_queued"), "Requests that wait for a place.", self.queued.get());
        let name = "wasi_http_host_requests_rejected_total";
        to.family(name, Kind::Counter, "Requests that never reached the component.");
        for (reason, count) in self.rejected.all() {
            to.sample(name, &[component, ("reason", reason)], count);
        }
        to.gauge(&format!("{prefix}_instances_live"), "Instances that live.", self.instances_live.get());
        to.counter(
            &format!("{prefix}_instances_created_total"),
            "Instances made.",
            self.instances_created.get(),
        );
        to.counter(
            &format!("{prefix}_instances_reused_total"),
            "Requests that an instance served after its first.",
            sum(|worker| worker.reused.get()),
        );
        let name = "wasi_http_host_instances_ended_total";
        to.family(name, Kind::Counter, "Instances that ended, by the reason.");
        for (reason, count) in self.instances_ended.all() {
            to.sample(name, &[component, ("reason", reason)], count);
        }
        let name = "wasi_http_host_traps_total";
        to.family(name, Kind::Counter, "Traps, by kind.");
        for (kind, count) in lock(&self.traps).iter() {
            to.sample(name, &[component, ("kind", kind)], count);
        }
        to.counter(
            &format!("{prefix}_sibling_requests_ended_total"),
            "Requests that ended because another in their instance did.",
            self.siblings.get(),
        );
        to.gauge(
            &format!("{prefix}_guest_memory_bytes"),
            "Linear memory of all instances.",
            self.guest_memory.get(),
        );
        to.counter(
            &format!("{prefix}_guest_memory_refused_total"),
            "Requests for memory beyond an instance's ceiling.",
            self.memory_refused.get(),
        );
        to.counter(
            &format!("{prefix}_guest_output_dropped_bytes_total"),
            "What guests printed beyond the limit.",
            self.guest_bytes_dropped.get(),
        );
        to.gauge(&format!("{prefix}_connections_open"), "Open connections.", level(|w| w.connections.get()));
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
        let name = "wasi_http_host_build_info";
        to.family(name, Kind::Gauge, "What runs here.");
        to.sample(name, &[("version", env!("CARGO_PKG_VERSION"))], 1);
    }
}
