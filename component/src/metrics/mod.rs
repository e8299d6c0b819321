//! The service's metrics: their series, their keys in the store, and their text form (Prometheus, format 0.0.4).
//!
//! Every label has a closed set of values, so neither clients nor GitHub can increase the number of series. All keys
//! are known in advance, so the metrics are read without listing the store's keys.

pub mod limits;
mod pending;
pub mod stats;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::metrics::limits::GitHubLimits;
use crate::ports::{FetchError, FetchResponse};
use crate::request::route::{Endpoint, Method};

/// The `Content-Type` of the text form.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The upper bounds of `http_request_duration_seconds`, as text and in microseconds. `+Inf` follows the last one.
const BOUNDS: [(&str, u64); 14] = [
    ("0.005", 5_000),
    ("0.01", 10_000),
    ("0.025", 25_000),
    ("0.05", 50_000),
    ("0.075", 75_000),
    ("0.1", 100_000),
    ("0.25", 250_000),
    ("0.5", 500_000),
    ("0.75", 750_000),
    ("1", 1_000_000),
    ("2.5", 2_500_000),
    ("5", 5_000_000),
    ("7.5", 7_500_000),
    ("10", 10_000_000),
];

/// All statuses that the service answers with.
const STATUSES: [u16; 13] = [200, 204, 304, 307, 401, 404, 405, 422, 429, 500, 502, 503, 504];

/// A counter. A histogram has one for each bucket, and one for its sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// `http_requests_total`, by endpoint, method and status.
    Requests(Endpoint, Method, u16),
    /// `http_request_duration_seconds_bucket`, not cumulative, by the index in [`BOUNDS`].
    Bucket(Endpoint, Method, u8),
    /// `http_request_duration_seconds_sum`, in microseconds.
    Micros(Endpoint, Method),
    /// `github_api_requests_total`, by the outcome of the exchange.
    GitHub(GitHubStatus),
    /// `cache_hits_total`: requests answered from the cache.
    Hits,
    /// `cache_misses_total`: requests that had to ask GitHub, bypasses included.
    Misses,
    /// `cache_stale_served_total`: stale entries answered, by reason.
    Stale(StaleReason),
    /// `github_rate_limit_reserved_total`: requests that GitHub was not asked for, to keep the reserve.
    Reserved,
    /// `cache_store_errors_total`: failures of the cache's store that a request survived.
    StoreErrors,
}

/// The outcome of one HTTP exchange with GitHub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GitHubStatus {
    /// A response with this status, 100 to 599.
    Code(u16),
    /// There was no response in time.
    Timeout,
    /// There was no valid response.
    Error,
}

/// Why a stale entry is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StaleReason {
    /// The entry is within stale-while-revalidate.
    Revalidate,
    /// GitHub failed, or the rate-limit gate is closed.
    Error,
}

impl GitHubStatus {
    /// The outcome of an exchange.
    #[must_use]
    pub fn of(result: Result<&FetchResponse, &FetchError>) -> Self {
        match result {
            Ok(response) if (100..600).contains(&response.status) => Self::Code(response.status),
            Err(FetchError::Timeout) => Self::Timeout,
            Ok(_) | Err(_) => Self::Error,
        }
    }
}

impl Counter {
    /// The counters of a request that took `duration`, and what to add to each.
    #[must_use]
    pub fn of_request(
        endpoint: Endpoint,
        method: Method,
        status: u16,
        duration: Duration,
    ) -> [(Self, u64); 3] {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.iter().take_while(|(_, bound)| micros > *bound).count();
        let status = if STATUSES.contains(&status) { status } else { 500 };
        [
            (Self::Requests(endpoint, method, status), 1),
            (Self::Bucket(endpoint, method, u8::try_from(bucket).unwrap_or(u8::MAX)), 1),
            (Self::Micros(endpoint, method), micros),
        ]
    }

    /// The counter's key in the metrics' store.
    #[must_use]
    pub fn key(self) -> String {
        let mut key = String::with_capacity(64);
        let _ = match self {
            Self::Requests(endpoint, method, status) => {
                write!(key, "metric:requests:{}:{}:{status}", endpoint.label(), method.label())
            }
            Self::Bucket(endpoint, method, bucket) => {
                write!(key, "metric:bucket:{}:{}:{bucket}", endpoint.label(), method.label())
            }
            Self::Micros(endpoint, method) => {
                write!(key, "metric:micros:{}:{}", endpoint.label(), method.label())
            }
            Self::GitHub(GitHubStatus::Code(code)) => write!(key, "metric:github:{code}"),
            Self::GitHub(GitHubStatus::Timeout) => write!(key, "metric:github:timeout"),
            Self::GitHub(GitHubStatus::Error) => write!(key, "metric:github:error"),
            Self::Hits => write!(key, "metric:hits"),
            Self::Misses => write!(key, "metric:misses"),
            Self::Stale(StaleReason::Revalidate) => write!(key, "metric:stale:revalidate"),
            Self::Stale(StaleReason::Error) => write!(key, "metric:stale:error"),
            Self::Reserved => write!(key, "metric:reserved"),
            Self::StoreErrors => write!(key, "metric:store-errors"),
        };
        key
    }

    /// The counters to read first: all that have no endpoint, and [`Counter::Micros`] for each endpoint and method.
    /// [`Counter::details`] can only exist if [`Counter::Micros`] exists.
    pub fn roots() -> impl Iterator<Item = Self> {
        let statuses = (100..600).map(GitHubStatus::Code);
        let github = statuses.chain([GitHubStatus::Timeout, GitHubStatus::Error]).map(Self::GitHub);
        let stale = [StaleReason::Revalidate, StaleReason::Error].map(Self::Stale);
        Endpoint::ALL
            .into_iter()
            .flat_map(|endpoint| Method::ALL.map(|method| Self::Micros(endpoint, method)))
            .chain(github)
            .chain(stale)
            .chain([Self::Hits, Self::Misses, Self::Reserved, Self::StoreErrors])
    }

    /// All other counters of an endpoint and method.
    pub fn details(endpoint: Endpoint, method: Method) -> impl Iterator<Item = Self> {
        let buckets = (0..=BOUNDS.len()).filter_map(|bucket| u8::try_from(bucket).ok());
        STATUSES
            .into_iter()
            .map(move |status| Self::Requests(endpoint, method, status))
            .chain(buckets.map(move |bucket| Self::Bucket(endpoint, method, bucket)))
    }
}

/// The values of all metrics at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The counters. A missing one is 0.
    pub counters: BTreeMap<Counter, u64>,
    /// `http_requests_active`: requests that are being answered.
    pub active: u64,
    /// `github_rate_limit_remaining` and `github_api_version_sunset_timestamp_seconds`; `None` until GitHub has answered.
    pub limits: Option<GitHubLimits>,
}

impl Snapshot {
    /// The metrics in Prometheus's text format 0.0.4.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = Exposition(String::with_capacity(4096));
        self.requests(&mut out);
        self.durations(&mut out);
        out.family("http_requests_active", "gauge", "Requests in flight.");
        out.sample("http_requests_active", "", self.active);
        self.github(&mut out);
        let of = |counter| self.counters.get(&counter).copied().unwrap_or_default();
        out.family("cache_hits_total", "counter", "Requests answered from the cache.");
        out.sample("cache_hits_total", "", of(Counter::Hits));
        out.family("cache_misses_total", "counter", "Requests that the cache could not answer.");
        out.sample("cache_misses_total", "", of(Counter::Misses));
        if let Some(remaining) = self.limits.and_then(|limits| limits.remaining) {
            let name = "github_rate_limit_remaining";
            out.family(name, "gauge", "Requests left in GitHub's current rate limit window.");
            out.sample(name, "", remaining);
        }
        let name = "github_rate_limit_reserved_total";
        out.family(name, "counter", "Requests not sent to GitHub, to keep the reserve for stored pages.");
        out.sample(name, "", of(Counter::Reserved));
        // Without a sample until GitHub names a date, the family tells Prometheus that the alerts' series can exist.
        let name = "github_api_version_sunset_timestamp_seconds";
        out.family(
            name,
            "gauge",
            "When GitHub ends the API version in use, in seconds since the Unix epoch.",
        );
        if let Some(sunset) = self.limits.and_then(|limits| limits.sunset) {
            out.sample(name, "", sunset);
        }
        out.family(
            "cache_stale_served_total",
            "counter",
            "Stale cache entries that were answered, by reason.",
        );
        for (reason, label) in [(StaleReason::Revalidate, "revalidate"), (StaleReason::Error, "error")] {
            let labels = format!("{{reason=\"{label}\"}}");
            out.sample("cache_stale_served_total", &labels, of(Counter::Stale(reason)));
        }
        out.family("cache_store_errors_total", "counter", "Failed operations of the cache's store.");
        out.sample("cache_store_errors_total", "", of(Counter::StoreErrors));
        out.0
    }

    fn requests(&self, out: &mut Exposition) {
        out.family("http_requests_total", "counter", "Requests answered.");
        for (counter, count) in &self.counters {
            if let Counter::Requests(endpoint, method, status) = counter {
                let (endpoint, method) = (endpoint.label(), method.label());
                let labels = format!("{{endpoint=\"{endpoint}\",method=\"{method}\",status=\"{status}\"}}");
                out.sample("http_requests_total", &labels, *count);
            }
        }
    }

    fn durations(&self, out: &mut Exposition) {
        out.family(
            "http_request_duration_seconds",
            "histogram",
            "Time from a request's arrival in the component to its response.",
        );
        for (counter, micros) in &self.counters {
            let Counter::Micros(endpoint, method) = *counter else { continue };
            let labels = format!("endpoint=\"{}\",method=\"{}\"", endpoint.label(), method.label());
            let mut total: u64 = 0;
            let bounds = BOUNDS.iter().map(|(bound, _)| *bound).chain(["+Inf"]);
            for (bucket, bound) in (0..).zip(bounds) {
                let in_bucket = self.counters.get(&Counter::Bucket(endpoint, method, bucket));
                total = total.saturating_add(in_bucket.copied().unwrap_or_default());
                let labels = format!("{{{labels},le=\"{bound}\"}}");
                out.sample("http_request_duration_seconds_bucket", &labels, total);
            }
            let labels = format!("{{{labels}}}");
            let seconds = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
            out.sample("http_request_duration_seconds_sum", &labels, seconds);
            out.sample("http_request_duration_seconds_count", &labels, total);
        }
    }

    fn github(&self, out: &mut Exposition) {
        out.family("github_api_requests_total", "counter", "Calls to GitHub, by outcome.");
        for (counter, count) in &self.counters {
            let Counter::GitHub(status) = counter else { continue };
            let labels = match status {
                GitHubStatus::Code(code) => format!("{{status=\"{code}\"}}"),
                GitHubStatus::Timeout => "{status=\"timeout\"}".to_owned(),
                GitHubStatus::Error => "{status=\"error\"}".to_owned(),
            };
            out.sample("github_api_requests_total", &labels, *count);
        }
    }
}

/// Writes families and samples as text.
struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name}{labels} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn snapshot(durations: &[u64]) -> Snapshot {
        let mut snapshot = Snapshot {
            active: 2,
            limits: Some(GitHubLimits { remaining: Some(57), sunset: Some(1_836_259_200) }),
            ..Snapshot::default()
        };
        for micros in durations {
            let duration = Duration::from_micros(*micros);
            for (counter, count) in Counter::of_request(Endpoint::Health, Method::Get, 200, duration) {
                *snapshot.counters.entry(counter).or_default() += count;
            }
        }
        snapshot
    }

    #[test]
    fn buckets_are_cumulative_and_end_in_the_count() {
        let text = snapshot(&[1, 5_000, 5_001, 99_000_000]).render();
        let line =
            |start: &str| text.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
        let labels = "endpoint=\"/health\",method=\"GET\"";
        for (bound, count) in [("0.005", 2), ("0.01", 3), ("10", 3), ("+Inf", 4)] {
            let series = format!("http_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} ");
            assert_eq!(line(&series), format!("{series}{count}"));
        }
        let count = format!("http_request_duration_seconds_count{{{labels}}} 4");
        assert_eq!(line(&count), count);
        let sum = format!("http_request_duration_seconds_sum{{{labels}}} 99.010002");
        assert_eq!(line(&sum), sum);
        let total = format!("http_requests_total{{{labels},status=\"200\"}} 4");
        assert_eq!(line(&total), total);
    }

    #[test]
    fn each_family_is_announced_once_and_before_its_samples() {
        let text = snapshot(&[1]).render();
        let mut known = BTreeSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                assert!(known.insert(rest.split(' ').next().unwrap()), "{line}");
            } else if !line.starts_with('#') {
                let name = line.split(['{', ' ']).next().unwrap();
                let family = known.iter().any(|family| name.starts_with(family));
                assert!(family, "{line}");
            }
        }
        assert!(text.ends_with('\n'));
    }

    #[test]
    fn every_counter_is_found_by_a_key_of_its_own() {
        let mut keys = BTreeSet::new();
        for root in Counter::roots() {
            assert!(keys.insert(root.key()), "{root:?}");
            if let Counter::Micros(endpoint, method) = root {
                for detail in Counter::details(endpoint, method) {
                    assert!(keys.insert(detail.key()), "{detail:?}");
                }
            }
        }
        for (counter, _) in Counter::of_request(Endpoint::Metrics, Method::Other, 418, Duration::MAX) {
            assert!(keys.contains(&counter.key()), "{counter:?}");
        }
    }
}
