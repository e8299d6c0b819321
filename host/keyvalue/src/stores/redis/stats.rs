//! What is counted of a store in Redis, on all threads together.

use wasi_http_host_core::{Gauge, labelled_counters};

use super::cache::Caches;
use crate::Samples;

labelled_counters! {
    /// Why a command failed.
    Failure, Failures {
        /// There was no connection.
        Unreachable = "unreachable",
        /// The connection broke before the reply.
        Broken = "broken",
        /// Redis did not reply in time.
        Timeout = "timeout",
        /// Too many commands were waiting already.
        Overload = "overload",
        /// Redis replied with an error.
        Refused = "refused",
    }
}

labelled_counters! {
    /// The outcome of an attempt to connect.
    ConnectAttempt, ConnectAttempts {
        /// The connection is open.
        Ok = "ok",
        /// There is no connection.
        Failed = "failed",
    }
}

/// The counters and gauges of one store.
#[derive(Default)]
pub(super) struct RedisStats {
    connections: Gauge,
    attempts: ConnectAttempts,
    in_flight: Gauge,
    /// Connections over which Redis sends invalidation messages.
    tracked: Gauge,
    pub(super) caches: Caches,
    failures: Failures,
}

impl RedisStats {
    pub(super) fn fail(&self, failure: Failure) {
        self.failures.count(failure);
    }

    pub(super) fn not_connected(&self) {
        self.attempts.count(ConnectAttempt::Failed);
    }

    /// Counts a connection that is up until the result is dropped.
    pub(super) fn connected(&self) -> Counted<'_> {
        self.attempts.count(ConnectAttempt::Ok);
        Counted::new(&self.connections)
    }

    /// Counts a connection that carries invalidation messages until the result is dropped.
    pub(super) fn tracked(&self) -> Counted<'_> {
        Counted::new(&self.tracked)
    }

    /// Counts a command in flight until the result is dropped.
    pub(super) fn sent(&self) -> Counted<'_> {
        Counted::new(&self.in_flight)
    }

    /// Adds the metrics of this store, which components call `store`.
    #[expect(clippy::cast_precision_loss, reason = "the format of metrics has floating-point numbers only")]
    pub(super) fn measure(&self, store: &str, samples: &mut Samples) {
        let labels = [("store", store)];
        let connections = "Open connections to a remote store. Normally, each thread has one.";
        samples.gauge("remote_connections", connections, &labels, self.connections.get() as f64);
        for (outcome, count) in self.attempts.all() {
            let help = "Attempts to connect to a remote store.";
            samples.counter("remote_connects_total", help, &[labels[0], ("outcome", outcome)], count);
        }
        for (reason, count) in self.failures.all() {
            let help = "Commands to a remote store that failed, by reason.";
            samples.counter("remote_failures_total", help, &[labels[0], ("reason", reason)], count);
        }
        let in_flight = "Commands to a remote store that wait for a reply.";
        samples.gauge("remote_in_flight", in_flight, &labels, self.in_flight.get() as f64);

        let cache = self.caches.totals();
        let mut counter = |name, help, value| samples.counter(name, help, &labels, value);
        counter("remote_cache_hits_total", "Reads of a remote store that the cache answered.", cache.hits);
        counter(
            "remote_cache_misses_total",
            "Reads of a remote store that the cache could not answer.",
            cache.misses,
        );
        let invalidations = "Keys that a remote store has invalidated.";
        counter("remote_cache_invalidations_total", invalidations, cache.invalidations);
        counter(
            "remote_cache_evictions_total",
            "Values of a remote store that were evicted because the cache was full.",
            cache.evictions,
        );
        let mut gauge = |name, help, value| samples.gauge(name, help, &labels, value);
        let tracked = "Connections on which a remote store sends invalidation messages. Normally, these are all connections.";
        gauge("remote_tracked", tracked, self.tracked.get() as f64);
        gauge("remote_cache_entries", "Keys of a remote store in the cache.", cache.entries as f64);
        gauge(
            "remote_cache_bytes",
            "Bytes of the keys and values of a remote store in the cache.",
            cache.bytes as f64,
        );
    }
}

/// Counts something for as long as it lives.
pub(super) struct Counted<'a>(&'a Gauge);

impl<'a> Counted<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}
