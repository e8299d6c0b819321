//! What guests ask of the host: key-value operations, and requests to others.

use std::sync::Arc;

use super::{
    exposition::{Exposition, Kind},
    trace::Tracer,
};
use crate::{
    application::Deployment,
    histogram::HistogramSnapshot,
    keyvalue::{self, MemoryStore},
};

/// The statistics of the interfaces that a component imports.
pub(crate) struct Interfaces {
    /// One a thread.
    pub(crate) keyvalue: Vec<Arc<keyvalue::Stats>>,
    /// One a store.
    pub(crate) remote: Vec<Arc<keyvalue::RemoteStats>>,
    pub(crate) memory: Arc<MemoryStore>,
    /// None where nobody asks for traces.
    pub(crate) tracer: Option<Arc<Tracer>>,
}

impl Interfaces {
    /// Writes all of them.
    pub(crate) fn expose(&self, to: &mut Exposition, components: &[Arc<Deployment>]) {
        self.keyvalue(to);
        self.remote(to);
        self.memory(to);
        outbound(to, components);
        if let Some(tracer) = &self.tracer {
            tracer.expose(to);
        }
    }

    fn keyvalue(&self, to: &mut Exposition) {
        let threads: Vec<Vec<_>> = self.keyvalue.iter().map(|stats| stats.snapshot().collect()).collect();
        let operations: Vec<_> = keyvalue::Operation::ALL
            .into_iter()
            .map(|operation| {
                let all = || threads.iter().flatten().filter(move |seen| seen.operation == operation);
                let latency = sum(all().map(|seen| &seen.latency));
                let (calls, errors) =
                    (all().map(|seen| seen.calls).sum(), all().map(|seen| seen.errors).sum());
                (operation.as_str(), calls, errors, latency)
            })
            .collect::<Vec<(_, u64, u64, _)>>();

        let name = "wasi_http_host_keyvalue_operations_total";
        to.family(name, Kind::Counter, "Calls of wasi:keyvalue, failed ones included.");
        for (operation, calls, ..) in &operations {
            to.sample(name, &[("operation", operation)], calls);
        }
        let name = "wasi_http_host_keyvalue_errors_total";
        to.family(name, Kind::Counter, "Calls of wasi:keyvalue that failed.");
        for (operation, _, errors, _) in &operations {
            to.sample(name, &[("operation", operation)], errors);
        }
        let name = "wasi_http_host_keyvalue_operation_duration_seconds";
        to.family(
            name,
            Kind::Histogram,
            "Time in the store; of every 32nd call where stores answer at once.",
        );
        for (operation, _, _, latency) in operations.iter().filter(|seen| seen.3.count > 0) {
            to.histogram(name, &[("operation", operation)], &latency.buckets, latency.sum, latency.count);
        }
    }

    /// Nothing without remote stores.
    fn remote(&self, to: &mut Exposition) {
        let stores: Vec<_> = self.remote.iter().map(|stats| stats.snapshot()).collect();
        if stores.is_empty() {
            return;
        }
        let name = "wasi_http_host_keyvalue_remote_connections";
        to.family(
            name,
            Kind::Gauge,
            "Connections to a remote store that are up: one a thread when all is well.",
        );
        for store in &stores {
            to.sample(name, &[("store", &store.name)], store.connections);
        }
        let name = "wasi_http_host_keyvalue_remote_connects_total";
        to.family(name, Kind::Counter, "Attempts to connect to a remote store.");
        for store in &stores {
            to.sample(name, &[("store", &store.name), ("outcome", "ok")], store.connected);
            to.sample(name, &[("store", &store.name), ("outcome", "failed")], store.not_connected);
        }
        let name = "wasi_http_host_keyvalue_remote_failures_total";
        to.family(name, Kind::Counter, "Commands to a remote store that failed, by reason.");
        for store in &stores {
            for (failure, count) in &store.failures {
                to.sample(name, &[("store", &store.name), ("reason", failure.as_str())], count);
            }
        }
        let name = "wasi_http_host_keyvalue_remote_in_flight";
        to.family(name, Kind::Gauge, "Commands to a remote store that wait for their answers.");
        for store in &stores {
            to.sample(name, &[("store", &store.name)], store.in_flight);
        }
        remote_cache(to, &stores);
    }

    fn memory(&self, to: &mut Exposition) {
        let usage = self.memory.usage();
        let prefix = "wasi_http_host_keyvalue_memory";
        to.gauge(&format!("{prefix}_bytes"), "Bytes that the store in memory holds.", usage.bytes);
        to.gauge(&format!("{prefix}_limit_bytes"), "Bytes that it may hold.", usage.max_bytes);
        to.gauge(&format!("{prefix}_values"), "Values that it holds.", usage.values);
        to.gauge(&format!("{prefix}_counters"), "Counters that it holds.", usage.counters);
        to.counter(
            &format!("{prefix}_evictions_total"),
            "Displaced, or not admitted, for want of room.",
            usage.evictions,
        );
    }
}

/// Outcomes that have not occurred are left out: most entries know two or three of the dozen.
fn outbound(to: &mut Exposition, components: &[Arc<Deployment>]) {
    let all: Vec<_> = components
        .iter()
        .map(|one| (("component", &*one.name), &one.outbound_stats, one.outbound_stats.snapshot().collect()))
        .collect::<Vec<(_, _, Vec<_>)>>();
    let name = "wasi_http_host_outbound_requests_total";
    to.family(
        name,
        Kind::Counter,
        "Finished requests to others, by the entry that allows them and how they ended.",
    );
    for (component, _, entries) in &all {
        for entry in entries {
            for (outcome, count) in entry.outcomes.iter().filter(|(_, count)| *count > 0) {
                let labels = [*component, ("allowed", &*entry.entry), ("outcome", outcome.as_str())];
                to.sample(name, &labels, count);
            }
        }
    }
    let name = "wasi_http_host_outbound_first_byte_seconds";
    to.family(name, Kind::Histogram, "From a request to the head of its response.");
    for (component, _, entries) in &all {
        for entry in entries.iter().filter(|entry| entry.latency.count > 0) {
            let (labels, latency) = ([*component, ("allowed", &*entry.entry)], &entry.latency);
            to.histogram(name, &labels, &latency.buckets, latency.sum, latency.count);
        }
    }
    let name = "wasi_http_host_outbound_denied_total";
    to.family(name, Kind::Counter, "Requests that no entry allows.");
    for (component, stats, _) in &all {
        to.sample(name, &[*component], stats.denied());
    }
    let name = "wasi_http_host_outbound_requests_active";
    to.family(name, Kind::Gauge, "Requests in flight.");
    for (component, stats, _) in &all {
        to.sample(name, &[*component], stats.in_flight());
    }
}

/// What the host remembers of remote stores.
fn remote_cache(to: &mut Exposition, stores: &[keyvalue::RemoteSnapshot]) {
    type Of = fn(&keyvalue::RemoteSnapshot) -> u64;
    let counters: [(&str, &str, Of); 4] = [
        ("cache_hits", "Reads of a remote store that were answered from memory.", |store| store.cache.hits),
        ("cache_misses", "Reads that were not, and whose answer may be next time.", |store| {
            store.cache.misses
        }),
        ("cache_invalidations", "Keys that a remote store named as changed.", |store| {
            store.cache.invalidations
        }),
        ("cache_evictions", "Values displaced from memory for want of room.", |store| store.cache.evictions),
    ];
    let gauges: [(&str, &str, Of); 3] = [
        (
            "tracked",
            "Connections over which a remote store says what changes: all when all is well.",
            |store| store.tracked.try_into().unwrap_or_default(),
        ),
        ("cache_entries", "Keys of a remote store that are known.", |store| store.cache.entries as u64),
        ("cache_bytes", "Bytes that they take.", |store| store.cache.bytes as u64),
    ];
    let counters = counters.map(|(name, help, of)| (format!("{name}_total"), Kind::Counter, help, of));
    let gauges = gauges.map(|(name, help, of)| (name.to_owned(), Kind::Gauge, help, of));
    for (name, kind, help, of) in counters.into_iter().chain(gauges) {
        let name = format!("wasi_http_host_keyvalue_remote_{name}");
        to.family(&name, kind, help);
        for store in stores {
            to.sample(&name, &[("store", &store.name)], of(store));
        }
    }
}

/// Histograms of the same bounds, as one.
fn sum<'a>(all: impl Iterator<Item = &'a HistogramSnapshot>) -> HistogramSnapshot {
    let mut total = HistogramSnapshot { buckets: Vec::new(), count: 0, sum: 0.0 };
    for one in all {
        if total.buckets.is_empty() {
            total.buckets.clone_from(&one.buckets);
        } else {
            for ((_, sum), (_, below)) in total.buckets.iter_mut().zip(&one.buckets) {
                *sum += below;
            }
        }
        total.count += one.count;
        total.sum += one.sum;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_added_up() {
        let one = |below: [u64; 2], count, sum| HistogramSnapshot {
            buckets: vec![(0.5, below[0]), (1.0, below[1])],
            count,
            sum,
        };
        let total = sum([one([1, 2], 3, 4.0), one([10, 20], 30, 40.0)].iter());
        assert_eq!(total, one([11, 22], 33, 44.0));
    }
}
