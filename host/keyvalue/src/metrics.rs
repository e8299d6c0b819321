//! Metrics in Prometheus's format: those of operations, and those that each store adds of its own.

use std::sync::Arc;

use wasi_http_host_core::{Exposition, MetricKind, histogram::HistogramSnapshot};

use super::stats::{Operation, Stats};

/// What the names of all metrics begin with.
const PREFIX: &str = "wasi_http_host_keyvalue_";

/// The metrics of several stores. The format wants all samples of a family in one place, so they are collected first.
#[derive(Default)]
pub struct Samples(Vec<Family>);

struct Family {
    name: &'static str,
    kind: MetricKind,
    help: &'static str,
    samples: Vec<(Labels, f64)>,
}

type Labels = Vec<(&'static str, String)>;

impl Samples {
    /// Adds to a counter. `name` is what follows `wasi_http_host_keyvalue_`, and ends with `_total`. Samples with the same name
    /// and the same labels are added up.
    #[expect(clippy::cast_precision_loss, reason = "the format has floating-point numbers only")]
    pub fn counter(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: u64,
    ) {
        self.add(name, MetricKind::Counter, help, labels, value as f64);
    }

    /// Adds to a gauge, as [`Samples::counter`] does to a counter.
    pub fn gauge(
        &mut self,
        name: &'static str,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        self.add(name, MetricKind::Gauge, help, labels, value);
    }

    fn add(
        &mut self,
        name: &'static str,
        kind: MetricKind,
        help: &'static str,
        labels: &[(&'static str, &str)],
        value: f64,
    ) {
        let labels: Labels = labels.iter().map(|(label, value)| (*label, (*value).to_owned())).collect();
        let at = self.0.iter().position(|family| family.name == name);
        let at = at.unwrap_or_else(|| {
            self.0.push(Family { name, kind, help, samples: Vec::new() });
            self.0.len() - 1
        });
        let Some(family) = self.0.get_mut(at) else { return };
        match family.samples.iter_mut().find(|(known, _)| *known == labels) {
            Some((_, sum)) => *sum += value,
            None => family.samples.push((labels, value)),
        }
    }

    /// Writes all families, in the order in which they were first added.
    pub(super) fn expose(&self, to: &mut Exposition) {
        for family in &self.0 {
            let name = format!("{PREFIX}{}", family.name);
            to.family(&name, family.kind, family.help);
            for (labels, value) in &family.samples {
                let labels: Vec<_> = labels.iter().map(|(label, value)| (*label, &**value)).collect();
                to.sample(&name, &labels, value);
            }
        }
    }
}

/// Writes the number, errors and durations of operations. Each thread has its own `stats`; they are added up.
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
    to.family(name, MetricKind::Counter, "Calls of wasi:keyvalue, including failed ones.");
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
        "Duration of calls of wasi:keyvalue. For stores in memory, every 32nd call is measured.",
    );
    for (operation, _, _, latency) in operations.iter().filter(|seen| seen.3.count > 0) {
        to.histogram(name, &[("operation", operation)], &latency.buckets, latency.sum, latency.count);
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
    fn samples_of_a_family_stand_together_and_equal_ones_are_added_up() {
        let mut samples = Samples::default();
        for store in ["a", "b", "b"] {
            samples.counter("reads_total", "Reads.", &[("store", store)], 2);
            samples.gauge("bytes", "Bytes.", &[], 0.5);
        }
        let mut to = Exposition::default();
        samples.expose(&mut to);
        let text = to.into_text();
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "wasi_http_host_keyvalue_reads_total{store=\"a\"} 2",
                "wasi_http_host_keyvalue_reads_total{store=\"b\"} 4",
                "wasi_http_host_keyvalue_bytes 1.5",
            ]
        );
    }

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
