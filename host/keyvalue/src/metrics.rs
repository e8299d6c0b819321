//! What is counted of stores, as Prometheus reads it.

use std::sync::Arc;

use wasi_http_host_core::{Exposition, MetricKind, histogram::HistogramSnapshot};

use super::{MemoryStore, Operation, RemoteSnapshot, RemoteStats, Stats};

/// Writes what was counted of calls, of all threads (`stats`) together.
pub fn expose_operations(to: &mut Exposition, stats: &[Arc<Stats>]) {
    let threads: Vec<Vec<_>> = stats.iter().map(|stats| stats.snapshot().collect()).collect();
    let operations: Vec<_> = Operation::ALL
        .into_iter()
        .map(|operation| {
            let all = || threads.iter().flatten().filter(move |seen| seen.operation == operation);
            let latency = sum(all().map(|seen| &seen.latency));
            let (calls, errors) = (all().map(|seen| seen.calls).sum(), all().map(|seen| seen.errors).sum());
            (operation.as_str(), calls, errors, latency)
        })
        .collect::<Vec<(_, u64, u64, _)>>();

    let name = "wasi_http_host_keyvalue_operations_total";
    to.family(name, MetricKind::Counter, "Calls of wasi:keyvalue, failed ones included.");
    for (operation, calls, ..) in &operations {
        to.sample(name, &[("operation", operation)], calls);
    }
    let name = "wasi_http_host_keyvalue_errors_total";
    to.family(name, MetricKind::Counter, "Calls of wasi:keyvalue that failed.");
    for (operation, _, errors, _) in &operations {
        to.sample(name, &[("operation", operation)], errors);
    }
    let name = "wasi_http_host_keyvalue_operation_duration_seconds";
    to.family(
        name,
        MetricKind::Histogram,
        "Time in the store; of every 32nd call where stores answer at once.",
    );
    for (operation, _, _, latency) in operations.iter().filter(|seen| seen.3.count > 0) {
        to.histogram(name, &[("operation", operation)], &latency.buckets, latency.sum, latency.count);
    }
}

/// Writes what was counted of stores in Redis; nothing where there are none.
pub fn expose_remote(to: &mut Exposition, stats: &[Arc<RemoteStats>]) {
    let stores: Vec<_> = stats.iter().map(|stats| stats.snapshot()).collect();
    if stores.is_empty() {
        return;
    }
    let name = "wasi_http_host_keyvalue_remote_connections";
    to.family(
        name,
        MetricKind::Gauge,
        "Connections to a remote store that are up: one a thread when all is well.",
    );
    for store in &stores {
        to.sample(name, &[("store", &store.name)], store.connections);
    }
    let name = "wasi_http_host_keyvalue_remote_connects_total";
    to.family(name, MetricKind::Counter, "Attempts to connect to a remote store.");
    for store in &stores {
        to.sample(name, &[("store", &store.name), ("outcome", "ok")], store.connected);
        to.sample(name, &[("store", &store.name), ("outcome", "failed")], store.not_connected);
    }
    let name = "wasi_http_host_keyvalue_remote_failures_total";
    to.family(name, MetricKind::Counter, "Commands to a remote store that failed, by reason.");
    for store in &stores {
        for (failure, count) in &store.failures {
            to.sample(name, &[("store", &store.name), ("reason", failure.as_str())], count);
        }
    }
    let name = "wasi_http_host_keyvalue_remote_in_flight";
    to.family(name, MetricKind::Gauge, "Commands to a remote store that wait for their answers.");
    for store in &stores {
        to.sample(name, &[("store", &store.name)], store.in_flight);
    }
    remote_cache(to, &stores);
}

/// Writes what the store in memory holds.
pub fn expose_memory(to: &mut Exposition, store: &MemoryStore) {
    let usage = store.usage();
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

/// What the host remembers of remote stores.
fn remote_cache(to: &mut Exposition, stores: &[RemoteSnapshot]) {
    type Of = fn(&RemoteSnapshot) -> u64;
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
    let counters = counters.map(|(name, help, of)| (format!("{name}_total"), MetricKind::Counter, help, of));
    let gauges = gauges.map(|(name, help, of)| (name.to_owned(), MetricKind::Gauge, help, of));
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
