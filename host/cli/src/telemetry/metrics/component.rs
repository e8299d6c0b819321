//! What is counted of one component. It outlives reloads: a new version of the component goes on counting.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{Counter, Gauge, labels};
use crate::sync::lock;

/// Upper bounds of the latency histogram, in microseconds: from a cached answer to the longest time limits.
pub(super) const BOUNDS_US: [u64; 18] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];
/// Kinds of traps that are told apart: wasmtime has fewer, and a label set must be bounded all the same.
const MAX_TRAP_KINDS: usize = 64;

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

/// What one thread counts of a component's requests.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerMetrics {
    pub(super) by_class: [Counter; 5],
    pub(super) aborted: Counter,
    pub(super) buckets: [Counter; BOUNDS_US.len()],
    pub(super) duration_us: Counter,
    pub(crate) active: Gauge,
    pub(crate) reused: Counter,
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

/// What is counted of a component.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    component: String,
    /// By thread.
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
}

impl Metrics {
    /// For the component of this name.
    pub(crate) fn new(component: &str) -> Arc<Self> {
        Arc::new(Self { component: component.to_owned(), ..Self::default() })
    }

    /// The component's name.
    pub(crate) fn component(&self) -> &str {
        &self.component
    }

    /// What the thread of this number counts in.
    pub(crate) fn worker(&self, thread: usize) -> Arc<WorkerMetrics> {
        let mut workers = lock(&self.workers);
        while workers.len() <= thread {
            workers.push(Arc::default());
        }
        workers.get(thread).cloned().unwrap_or_default()
    }

    pub(crate) fn count_trap(&self, kind: &str) {
        let mut traps = lock(&self.traps);
        let kind = if traps.len() < MAX_TRAP_KINDS || traps.contains_key(kind) { kind } else { "other" };
        *traps.entry(kind.to_owned()).or_default() += 1;
    }

    pub(super) fn workers(&self) -> Vec<Arc<WorkerMetrics>> {
        lock(&self.workers).clone()
    }

    pub(super) fn traps(&self) -> BTreeMap<String, u64> {
        lock(&self.traps).clone()
    }
}
