//! Metrics of outbound requests in Prometheus's text format.

use wasi_http_host_core::{Exposition, MetricKind};

use super::Stats;

/// Writes the metrics of each component, with the component's name as a label. Outcomes with a count of zero are
/// left out, because most entries have only two or three of the 13 outcomes.
pub fn expose<'a>(to: &mut Exposition, components: impl Iterator<Item = (&'a str, &'a Stats)>) {
    let all: Vec<_> = components
        .map(|(component, stats)| (("component", component), stats, stats.snapshot().collect()))
        .collect::<Vec<(_, _, Vec<_>)>>();
    let name = "wasi_http_host_outbound_requests_total";
    to.family(
        name,
        MetricKind::Counter,
        "Finished outbound requests, by the entry that allows them and by outcome.",
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
    to.family(name, MetricKind::Histogram, "Time from an outbound request to the head of its response.");
    for (component, _, entries) in &all {
        for entry in entries.iter().filter(|entry| entry.latency.count > 0) {
            let (labels, latency) = ([*component, ("allowed", &*entry.entry)], &entry.latency);
            to.histogram(name, &labels, &latency.buckets, latency.sum, latency.count);
        }
    }
    let name = "wasi_http_host_outbound_denied_total";
    to.family(name, MetricKind::Counter, "Outbound requests that no entry of allowed_outbound_hosts allows.");
    for (component, stats, _) in &all {
        to.sample(name, &[*component], stats.denied());
    }
    let name = "wasi_http_host_outbound_requests_active";
    to.family(name, MetricKind::Gauge, "Outbound requests in flight.");
    for (component, stats, _) in &all {
        to.sample(name, &[*component], stats.in_flight());
    }
    let name = "wasi_http_host_outbound_connections_open";
    to.family(name, MetricKind::Gauge, "Open outbound connections, idle connections included.");
    for (component, stats, _) in &all {
        to.sample(name, &[*component], stats.connections());
    }
    let name = "wasi_http_host_outbound_connections_reclaimed_total";
    let help = "Idle outbound connections that were closed because another connection needed their place.";
    to.family(name, MetricKind::Counter, help);
    for (component, stats, _) in &all {
        to.sample(name, &[*component], stats.reclaimed());
    }
}
