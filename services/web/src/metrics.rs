//! Metrics of requests, in Prometheus' text format.
//!
//! A service has several instances, and an instance may answer one request only. So the counters are in a key-value store,
//! which all instances of a process share: the one that the setting `metrics_store` names (`default`). Each series is a
//! counter of its own. The key that ends in `index` lists the series, because listing the keys of a store is expensive.
//! Where the store does not answer, requests are answered all the same, and `/metrics` says so.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use crate::log::Level;
use crate::platform::Platform;
use crate::settings::InvalidSetting;
use crate::store::{Store, StoreError, replace_with};

/// The upper bounds of the histogram's buckets, in milliseconds.
const BUCKETS: [(u64, &str); 8] = [
    (1, "0.001"),
    (5, "0.005"),
    (10, "0.01"),
    (50, "0.05"),
    (100, "0.1"),
    (500, "0.5"),
    (1_000, "1"),
    (5_000, "5"),
];
/// The most series of a service: routes, methods and statuses are few, so more than this is a mistake.
const MAX_SERIES: usize = 1_000;
/// How often the index is tried again while other instances change it.
const ATTEMPTS: u32 = 16;

/// A request that was answered.
#[derive(Debug, Clone)]
pub(crate) struct Observation {
    /// `GET`, …, or `other`.
    pub(crate) method: &'static str,
    /// The route's pattern, or `other`.
    pub(crate) route: String,
    pub(crate) status: u16,
    pub(crate) duration: Duration,
}

/// The counters of one service.
#[derive(Clone)]
pub(crate) struct Metrics {
    service: &'static str,
    version: &'static str,
    platform: Platform,
}

/// What cannot be counted or shown.
enum Failure {
    Setting(InvalidSetting),
    Store(StoreError),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Setting(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl Metrics {
    pub(crate) fn new(service: &'static str, version: &'static str, platform: Platform) -> Self {
        Self { service, version, platform }
    }

    /// Counts a request, behind its response.
    pub(crate) fn observe(&self, observation: Observation) {
        let metrics = self.clone();
        self.platform.after_response(move || {
            if let Err(error) = metrics.count(&observation) {
                metrics.platform.log(
                    Level::Warn,
                    "the request is not counted",
                    &[("error", &error.to_string())],
                );
            }
        });
    }

    fn count(&self, observation: &Observation) -> Result<(), Failure> {
        let Observation { method, route, status, duration } = observation;
        let store = self.store()?;
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let bucket = BUCKETS.iter().find(|(bound, _)| duration.as_millis() < u128::from(*bound));
        let bucket = bucket.map_or("+Inf", |(_, name)| name);
        self.add(&*store, &format!("requests {method} {status} {route}"), 1)?;
        self.add(&*store, &format!("bucket {bucket} {route}"), 1)?;
        self.add(&*store, &format!("micros {route}"), micros.max(1))
    }

    /// Adds to a series. A series that was just made gets into the index.
    fn add(&self, store: &dyn Store, series: &str, delta: i64) -> Result<(), Failure> {
        let sum = store.increment(&self.key(series), delta)?;
        if sum != delta {
            return Ok(());
        }
        let index = self.key("index");
        replace_with(store, &index, ATTEMPTS, |current| {
            let mut series_list = lines(current);
            if series_list.len() < MAX_SERIES {
                series_list.insert(series.to_owned());
            }
            Ok::<_, Failure>(Vec::from_iter(series_list).join("\n").into_bytes())
        })
    }

    /// The text that `/metrics` answers.
    pub(crate) fn text(&self) -> String {
        let Self { service, version, .. } = self;
        let mut text = format!(
            "# HELP service_info The service and its version.\n# TYPE service_info gauge\n\
             service_info{{service=\"{service}\",version=\"{version}\"}} 1\n"
        );
        match self.series() {
            Ok(series) => render(service, &series, &mut text),
            Err(error) => {
                // A comment must not contain a line break.
                let error = error.to_string().replace(['\n', '\r'], " ");
                let _ = writeln!(text, "# requests are not counted: {error}");
            }
        }
        text
    }

    /// All series with their values, in the order of their names.
    fn series(&self) -> Result<Vec<(String, u64)>, Failure> {
        let store = self.store()?;
        let index = store.get(&self.key("index"))?;
        let mut series = Vec::new();
        for name in lines(index.as_deref()) {
            let value = store.increment(&self.key(&name), 0)?;
            series.push((name, u64::try_from(value).unwrap_or_default()));
        }
        Ok(series)
    }

    fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        let name =
            self.platform.setting_or("metrics_store", "default".to_owned()).map_err(Failure::Setting)?;
        Ok(self.platform.store(&name)?)
    }

    fn key(&self, name: &str) -> String {
        format!("metrics/{}/{name}", self.service)
    }
}

/// The lines of the index.
fn lines(index: Option<&[u8]>) -> BTreeSet<String> {
    let index = String::from_utf8_lossy(index.unwrap_or_default());
    index.lines().map(str::to_owned).collect()
}

/// Writes `series` as counters and a histogram.
fn render(service: &str, series: &[(String, u64)], text: &mut String) {
    let of = |kind: &'static str| {
        series
            .iter()
            .filter_map(move |(name, value)| Some((name.strip_prefix(kind)?.strip_prefix(' ')?, *value)))
    };
    text.push_str(
        "# HELP http_requests_total Requests that were answered.\n# TYPE http_requests_total counter\n",
    );
    for (name, value) in of("requests") {
        let mut words = name.splitn(3, ' ');
        let (method, status) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let route = words.next().unwrap_or_default();
        let _ = writeln!(
            text,
            "http_requests_total{{service=\"{service}\",method=\"{method}\",route=\"{route}\",status=\"{status}\"}} {value}"
        );
    }
    text.push_str(
        "# HELP http_request_duration_seconds Time from the request's head to the response's head.\n\
         # TYPE http_request_duration_seconds histogram\n",
    );
    for (route, micros) in of("micros") {
        let labels = format!("service=\"{service}\",route=\"{route}\"");
        let counted = |bound: &str| {
            let name = format!("{bound} {route}");
            of("bucket").find(|(bucket, _)| *bucket == name).map_or(0, |(_, value)| value)
        };
        let mut sum = 0;
        for bound in BUCKETS.iter().map(|(_, name)| *name).chain(["+Inf"]) {
            sum += counted(bound);
            let _ = writeln!(text, "http_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {sum}");
        }
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        let _ = writeln!(text, "http_request_duration_seconds_sum{{{labels}}} {seconds}.{rest:06}");
        let _ = writeln!(text, "http_request_duration_seconds_count{{{labels}}} {sum}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;

    fn observation(route: &str, status: u16, millis: u64) -> Observation {
        Observation {
            method: "GET",
            route: route.to_owned(),
            status,
            duration: Duration::from_millis(millis),
        }
    }

    #[test]
    fn two_instances_count_together() {
        let fake = Fake::new();
        let instances = [0, 1].map(|_| Metrics::new("shop", "1.2.3", fake.platform()));
        instances[0].observe(observation("/a", 200, 3));
        instances[1].observe(observation("/a", 200, 70));
        instances[1].observe(observation("/b/{id}", 404, 6_000));
        let text = instances[0].text();
        for line in [
            "service_info{service=\"shop\",version=\"1.2.3\"} 1",
            "http_requests_total{service=\"shop\",method=\"GET\",route=\"/a\",status=\"200\"} 2",
            "http_requests_total{service=\"shop\",method=\"GET\",route=\"/b/{id}\",status=\"404\"} 1",
            "http_request_duration_seconds_bucket{service=\"shop\",route=\"/a\",le=\"0.001\"} 0",
            "http_request_duration_seconds_bucket{service=\"shop\",route=\"/a\",le=\"0.005\"} 1",
            "http_request_duration_seconds_bucket{service=\"shop\",route=\"/a\",le=\"+Inf\"} 2",
            "http_request_duration_seconds_sum{service=\"shop\",route=\"/a\"} 0.073000",
            "http_request_duration_seconds_count{service=\"shop\",route=\"/a\"} 2",
            "http_request_duration_seconds_bucket{service=\"shop\",route=\"/b/{id}\",le=\"5\"} 0",
            "http_request_duration_seconds_sum{service=\"shop\",route=\"/b/{id}\"} 6.000000",
        ] {
            assert!(text.lines().any(|actual| actual == line), "{line}\n{text}");
        }
    }

    #[test]
    fn without_a_store_the_text_says_so() {
        let fake = Fake::new();
        fake.setting("metrics_store", "none");
        fake.deny_store("none");
        let metrics = Metrics::new("shop", "1.2.3", fake.platform());
        metrics.observe(observation("/a", 200, 3));
        assert!(metrics.text().ends_with("# requests are not counted: access to the store is denied\n"));
        assert!(fake.log_lines().iter().any(|line| line.contains("the request is not counted")));
    }
}
