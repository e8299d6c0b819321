//! The watched resources of a host, their history, and the check that they return to the idle level.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Host, Samples};
use tokio::time::sleep;

use crate::system::{Holdings, holdings};
use crate::tally::Tally;

/// The bound of memory growth over the second half of the load, in bytes: above the noise of the allocator, and below what a leak for
/// each request would add.
const GROWTH: f64 = (16 << 20) as f64;
/// Under a shorter load, pools may still grow to their peak.
const LONG: Duration = Duration::from_secs(240);
const GROWTH_WHILE_SHORT: f64 = 4.0 * GROWTH;
const MIB: f64 = (1 << 20) as f64;

/// A watched resource.
struct Figure {
    name: &'static str,
    read: fn(&Holdings, &Samples) -> f64,
    /// The unit of the table.
    unit: f64,
    /// The allowed difference from the idle level after the load. Memory is checked by its growth instead.
    slack: f64,
}

macro_rules! metric {
    ($name:literal) => {
        |_, samples| samples.sum(concat!("wasi_http_host_", $name), &[])
    };
}

#[expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^53")]
const FIGURES: [Figure; 15] = [
    Figure {
        name: "resident memory, MiB",
        read: |held, _| held.resident as f64,
        unit: MIB,
        slack: f64::INFINITY,
    },
    Figure { name: "open files", read: |held, _| (held.files - held.to_port) as f64, unit: 1.0, slack: 0.0 },
    Figure { name: "sockets", read: |held, _| (held.sockets - held.to_port) as f64, unit: 1.0, slack: 0.0 },
    // The host keeps connections for a while, as many as there were requests at once.
    Figure {
        name: "connections to GitHub",
        read: |held, _| held.to_port as f64,
        unit: 1.0,
        slack: f64::INFINITY,
    },
    Figure { name: "threads", read: |held, _| held.threads as f64, unit: 1.0, slack: 0.0 },
    Figure { name: "instances", read: metric!("instances_live"), unit: 1.0, slack: 0.0 },
    Figure { name: "guests' memory, MiB", read: metric!("guest_memory_bytes"), unit: MIB, slack: 0.0 },
    Figure { name: "requests being served", read: metric!("requests_active"), unit: 1.0, slack: 0.0 },
    Figure { name: "requests that wait", read: metric!("requests_queued"), unit: 1.0, slack: 0.0 },
    Figure { name: "clients' connections", read: metric!("connections_open"), unit: 1.0, slack: 0.0 },
    Figure { name: "requests to GitHub", read: metric!("outbound_requests_active"), unit: 1.0, slack: 0.0 },
    Figure {
        name: "connections to Redis",
        read: metric!("keyvalue_remote_connections"),
        unit: 1.0,
        slack: 0.0,
    },
    Figure { name: "commands to Redis", read: metric!("keyvalue_remote_in_flight"), unit: 1.0, slack: 0.0 },
    // The response cache is bounded and keeps what it has.
    Figure {
        name: "cached responses, MiB",
        read: |_, samples| samples.sum("wasi_http_host_response_cache_bytes", &[("of", "stored")]),
        unit: MIB,
        slack: f64::INFINITY,
    },
    Figure {
        name: "cached in transit, MiB",
        read: |_, samples| samples.sum("wasi_http_host_response_cache_bytes", &[("of", "other")]),
        unit: MIB,
        slack: 0.0,
    },
];

type Values = [f64; FIGURES.len()];

/// The history of a host's resources.
#[derive(Default)]
pub(super) struct History {
    github: u16,
    idle: Values,
    during: Vec<(Duration, Values)>,
    after: Values,
}

/// The violated requirements.
#[derive(Default)]
pub(super) struct Findings {
    violations: Vec<String>,
}

impl Findings {
    pub(super) fn add(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(otherwise());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.violations.is_empty()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        self.violations.iter().map(String::as_str)
    }
}

impl History {
    /// The history of a host whose GitHub has this port.
    pub(super) fn new(github: u16) -> Self {
        Self { github, ..Self::default() }
    }

    async fn look(&self, host: &Host) -> Values {
        // The scrape's own connection counts equally in each sample.
        let samples = host.samples().await;
        let held = holdings(host.pid(), self.github);
        FIGURES.map(|figure| (figure.read)(&held, &samples))
    }

    pub(super) async fn sample(&mut self, host: &Host, at: Duration) {
        let values = self.look(host).await;
        self.during.push((at, values));
    }

    /// Waits until no value falls any more, and takes the values as the idle level. Earlier samples are dropped.
    pub(super) async fn rest_idle(&mut self, host: &Host, patience: Duration) {
        let begun = Instant::now();
        self.idle = self.look(host).await;
        let mut since = Instant::now();
        // Longer than each idle timeout in the flags of the soak test.
        while since.elapsed() < Duration::from_secs(8) && begun.elapsed() < patience {
            sleep(Duration::from_millis(500)).await;
            let now = self.look(host).await;
            let falls = now
                .iter()
                .zip(&self.idle)
                .zip(&FIGURES)
                .any(|((now, idle), figure)| now < idle && figure.slack.is_finite());
            if falls {
                since = Instant::now();
            }
            for (idle, now) in self.idle.iter_mut().zip(now) {
                *idle = idle.min(now);
            }
        }
        self.during.clear();
    }

    /// Waits until all values are at the idle level, and returns those that are not.
    pub(super) async fn rest_after(&mut self, host: &Host, patience: Duration) -> Findings {
        let begun = Instant::now();
        let mut findings;
        loop {
            self.after = self.look(host).await;
            findings = Findings::default();
            for ((figure, idle), after) in FIGURES.iter().zip(&self.idle).zip(&self.after) {
                let (name, unit) = (figure.name, figure.unit);
                findings.add(*after <= idle + figure.slack, || {
                    format!("{name}: {:.1} after the load, {:.1} before", after / unit, idle / unit)
                });
            }
            if findings.is_empty() || begun.elapsed() > patience {
                break;
            }
            sleep(Duration::from_millis(500)).await;
        }
        let growth = self.growth();
        findings.add(growth <= self.bound(), || {
            format!("memory grew by {:.1} MiB over the second half of the load", growth / MIB)
        });
        findings
    }

    fn bound(&self) -> f64 {
        if self.during.last().is_some_and(|(at, _)| *at >= LONG) { GROWTH } else { GROWTH_WHILE_SHORT }
    }

    /// Bytes by which memory grew over the second half of the load, by the line of least squares through it.
    fn growth(&self) -> f64 {
        let half = self.during.get(self.during.len() / 2..).unwrap_or_default();
        let points: Vec<_> = half.iter().map(|(at, [resident, ..])| (at.as_secs_f64(), *resident)).collect();
        slope(&points) * points.last().zip(points.first()).map_or(0.0, |(last, first)| last.0 - first.0)
    }

    /// The history as a table.
    pub(super) fn table(&self) -> String {
        let mut text = format!("  {:24}{:>9}{:>9}{:>9}{:>9}\n", "", "idle", "mean", "most", "after");
        for (at, figure) in FIGURES.iter().enumerate() {
            let of = |values: &Values| values.get(at).copied().unwrap_or(0.0) / figure.unit;
            let all: Vec<_> = self.during.iter().map(|(_, values)| of(values)).collect();
            let mean =
                all.iter().sum::<f64>() / f64::from(u32::try_from(all.len().max(1)).unwrap_or(u32::MAX));
            let most = all.iter().copied().fold(0.0, f64::max);
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "  {:24}{:>9.1}{mean:>9.1}{most:>9.1}{:>9.1}",
                figure.name,
                of(&self.idle),
                of(&self.after)
            );
        }
        let _ = writeln!(text, "  memory over the second half: {:+.1} MiB", self.growth() / MIB);
        text
    }

    /// The history as JSON.
    pub(super) fn json(&self, name: &str, tally: &Tally, findings: &Findings) -> Value {
        let figures =
            FIGURES.iter().zip(self.idle).zip(self.after).enumerate().map(|(at, ((figure, idle), after))| {
                let most =
                    self.during.iter().filter_map(|(_, values)| values.get(at)).copied().fold(0.0, f64::max);
                (figure.name.to_owned(), json!({ "idle": idle, "most": most, "after": after }))
            });
        let figures: serde_json::Map<_, _> = figures.collect();
        json!({
            "host": name, "answers": tally.total(), "lost": tally.lost, "refused": tally.refused, "stale": tally.stale,
            "uncached": tally.uncached, "slowest_seconds": tally.slowest.as_secs_f64(), "figures": figures,
            "memory_growth_bytes": self.growth(), "failures": findings.all().collect::<Vec<_>>(),
        })
    }
}

/// The slope of the line of least squares; 0 for fewer than two points.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = f64::from(u32::try_from(points.len()).unwrap_or(u32::MAX));
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let (mut above, mut below) = (0.0, 0.0);
    for point in points {
        above += (point.0 - x) * (point.1 - y);
        below += (point.0 - x).powi(2);
    }
    if below > 0.0 { above / below } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_line() {
        let line: Vec<_> = (0..10).map(|x| (f64::from(x), 3.0 * f64::from(x) + 7.0)).collect();
        assert!((slope(&line) - 3.0).abs() < 1e-9);
        assert!(slope(&[(1.0, 5.0)]).abs() < 1e-9 && slope(&[]).abs() < 1e-9);
    }

    #[test]
    fn memory_that_grows_is_told_from_memory_that_jumps_about() {
        let history = |resident: fn(f64) -> f64| {
            let sample = |at: u32| {
                let mut values = Values::default();
                if let Some(first) = values.first_mut() {
                    *first = resident(f64::from(at));
                }
                (Duration::from_secs(at.into()), values)
            };
            History { during: (0..120).map(sample).collect(), ..History::default() }
        };
        let leak = history(|at| 40.0 * MIB + at * 2.0 * MIB);
        assert!(leak.growth() > leak.bound());
        assert!(history(|at| 40.0 * MIB + (at % 7.0) * MIB).growth() < GROWTH);
    }
}
