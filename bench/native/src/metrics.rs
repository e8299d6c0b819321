//! The component's counters and histogram, as atomic integers.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use axum::http::StatusCode;

/// Upper bounds of the buckets in seconds, as in Python's prometheus_client. The last bucket, `+Inf`, is not listed.
const BOUNDS: [f64; 14] = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
/// The statuses with their own counter. All others count as 0.
const STATUSES: [u16; 6] = [200, 304, 404, 422, 502, 0];

/// The metrics of `/metrics`.
#[derive(Default)]
pub(crate) struct Metrics {
    pub(crate) health: Endpoint,
    pub(crate) gists: Endpoint,
    pub(crate) openapi: Endpoint,
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
}

/// The metrics of one route template.
#[derive(Default)]
pub(crate) struct Endpoint {
    active: AtomicU64,
    statuses: [AtomicU64; STATUSES.len()],
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// An in-flight request.
pub(crate) struct Running<'a> {
    endpoint: &'a Endpoint,
    start: Instant,
}

impl Endpoint {
    pub(crate) fn start(&self) -> Running<'_> {
        self.active.fetch_add(1, Relaxed);
        Running { endpoint: self, start: Instant::now() }
    }
}

impl Running<'_> {
    pub(crate) fn end(self, status: StatusCode) {
        let took = self.start.elapsed();
        let seconds = took.as_secs_f64();
        let code = status.as_u16();
        let status = STATUSES.iter().position(|known| *known == code).unwrap_or(STATUSES.len() - 1);
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        for (counters, index) in [(&self.endpoint.statuses[..], status), (&self.endpoint.buckets[..], bucket)]
        {
            if let Some(counter) = counters.get(index) {
                counter.fetch_add(1, Relaxed);
            }
        }
        self.endpoint.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.endpoint.active.fetch_sub(1, Relaxed);
    }
}

impl Metrics {
    /// Renders the metrics in Prometheus' text format 0.0.4.
    pub(crate) fn render(&self) -> String {
        let mut out = String::new();
        let endpoints =
            [("/health", &self.health), ("/{username}", &self.gists), ("/openapi.json", &self.openapi)];
        for (template, endpoint) in endpoints {
            endpoint.render(template, &mut out);
        }
        for (name, counter) in [("cache_hits_total", &self.hits), ("cache_misses_total", &self.misses)] {
            line(&mut out, format_args!("{name} {}", counter.load(Relaxed)));
        }
        out
    }
}

impl Endpoint {
    fn render(&self, template: &str, out: &mut String) {
        for (status, counter) in STATUSES.iter().zip(&self.statuses) {
            let count = counter.load(Relaxed);
            line(
                out,
                format_args!("http_requests_total{{endpoint=\"{template}\",status=\"{status}\"}} {count}"),
            );
        }
        line(
            out,
            format_args!("http_requests_active{{endpoint=\"{template}\"}} {}", self.active.load(Relaxed)),
        );
        let mut sum = 0;
        for (index, bucket) in self.buckets.iter().enumerate() {
            sum += bucket.load(Relaxed);
            let bound = BOUNDS.get(index).map_or_else(|| "+Inf".to_owned(), f64::to_string);
            line(
                out,
                format_args!(
                    "http_request_duration_seconds_bucket{{endpoint=\"{template}\",le=\"{bound}\"}} {sum}"
                ),
            );
        }
        line(out, format_args!("http_request_duration_seconds_count{{endpoint=\"{template}\"}} {sum}"));
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{text}");
}
