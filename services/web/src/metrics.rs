//! Metrics of requests, in Prometheus' text format.
//!
//! A service has several instances, and an instance may answer one request only. So the counters are in a key-value store,
//! which all instances of a process share: the one that the setting `metrics_store` names (`default`). Each counter is a key
//! of its own. The key that ends in `index` lists the combinations of method, status and route, because listing the keys of a
//! store is expensive. If the store does not answer, the service still answers requests, and `/metrics` says so.

use std::collections::{BTreeMap, BTreeSet};
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
/// The name of the bucket of all other requests.
const INFINITY: &str = "+Inf";
/// The name of the key that lists the series.
const INDEX: &str = "index";
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

    /// Counts a request, after its response.
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
        let series = format!("{method} {status} {route}");
        let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        let bucket = BUCKETS.iter().find(|(bound, _)| duration.as_millis() < u128::from(*bound));
        let bucket = bucket.map_or(INFINITY, |(_, name)| name);
        let count = store.increment(&self.key(&format!("requests {series}")), 1)?;
        store.increment(&self.key(&format!("bucket {bucket} {route}")), 1)?;
        store.increment(&self.key(&format!("micros {route}")), micros)?;
        if is_listed_at(count) { self.list(&*store, &series) } else { Ok(()) }
    }

    /// Puts a series into the index.
    fn list(&self, store: &dyn Store, series: &str) -> Result<(), Failure> {
        replace_with(store, &self.key(INDEX), ATTEMPTS, |current| {
            let mut all = lines(current);
            if all.len() < MAX_SERIES {
                all.insert(series.to_owned());
            }
            Ok(Vec::from_iter(all).join("\n").into_bytes())
        })
    }

    /// The text that `/metrics` answers.
    pub(crate) fn text(&self) -> String {
        let Self { service, version, .. } = self;
        let mut text = format!(
            "# HELP service_info The service and its version.\n# TYPE service_info gauge\n\
             service_info{{service=\"{service}\",version=\"{version}\"}} 1\n"
        );
        match self.counters() {
            Ok(counters) => counters.render(service, &mut text),
            Err(error) => {
                // A comment must not contain a line break.
                let error = error.to_string().replace(['\n', '\r'], " ");
                let _ = writeln!(text, "# requests are not counted: {error}");
            }
        }
        text
    }

    fn counters(&self) -> Result<Counters, Failure> {
        let store = self.store()?;
        let value = |name: &str| {
            let value = store.increment(&self.key(name), 0)?;
            Ok::<_, Failure>(u64::try_from(value).unwrap_or_default())
        };
        let mut counters = Counters::default();
        for series in lines(store.get(&self.key(INDEX))?.as_deref()) {
            let requests = value(&format!("requests {series}"))?;
            let mut words = series.splitn(3, ' ').map(str::to_owned);
            let [method, status, route] = [(); 3].map(|()| words.next().unwrap_or_default());
            if !counters.routes.contains_key(&route) {
                let mut buckets = Vec::new();
                for bound in bounds() {
                    buckets.push(value(&format!("bucket {bound} {route}"))?);
                }
                let micros = value(&format!("micros {route}"))?;
                counters.routes.insert(route.clone(), Durations { buckets, micros });
            }
            counters.requests.push((method, status, route, requests));
        }
        Ok(counters)
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

/// Whether a series gets into the index when it has this count. More than once, in case an instance ended in between,
/// or the store evicted the index.
fn is_listed_at(count: i64) -> bool {
    const EVERY: u64 = 256;
    let count = count.unsigned_abs();
    count.is_power_of_two() || count.is_multiple_of(EVERY)
}

/// The names of the histogram's buckets.
fn bounds() -> impl Iterator<Item = &'static str> {
    BUCKETS.iter().map(|(_, name)| *name).chain([INFINITY])
}

/// The values of all counters.
#[derive(Default)]
struct Counters {
    /// Method, status, route and count.
    requests: Vec<(String, String, String, u64)>,
    /// By route.
    routes: BTreeMap<String, Durations>,
}

/// The histogram of a route.
struct Durations {
    /// The requests in each bucket alone, in the order of [`bounds`].
    buckets: Vec<u64>,
    micros: u64,
}

impl Counters {
    fn render(&self, service: &str, text: &mut String) {
        text.push_str(
            "# HELP http_requests_total Requests that were answered.\n# TYPE http_requests_total counter\n",
        );
        for (method, status, route, count) in &self.requests {
            let labels =
                format!("service=\"{service}\",method=\"{method}\",route=\"{route}\",status=\"{status}\"");
            let _ = writeln!(text, "http_requests_total{{{labels}}} {count}");
        }
        text.push_str(
            "# HELP http_request_duration_seconds Time from the request's head to the response's head.\n\
             # TYPE http_request_duration_seconds histogram\n",
        );
        for (route, Durations { buckets, micros }) in &self.routes {
            let labels = format!("service=\"{service}\",route=\"{route}\"");
            let mut sum = 0;
            for (bound, count) in bounds().zip(buckets) {
                sum += count;
                let _ =
                    writeln!(text, "http_request_duration_seconds_bucket{{{labels},le=\"{bound}\"}} {sum}");
            }
            let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
            let _ = writeln!(text, "http_request_duration_seconds_sum{{{labels}}} {seconds}.{rest:06}");
            let _ = writeln!(text, "http_request_duration_seconds_count{{{labels}}} {sum}");
        }
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
    fn a_series_that_the_index_lost_comes_back() {
        let fake = Fake::new();
        let metrics = Metrics::new("shop", "1.2.3", fake.platform());
        metrics.observe(observation("/a", 200, 3));
        fake.store("default").delete("metrics/shop/index").unwrap();
        assert!(!metrics.text().contains("/a"));
        metrics.observe(observation("/a", 200, 3));
        assert!(metrics.text().contains("route=\"/a\",status=\"200\"} 2"));
        assert!(
            (1..=10_000).filter(|count| is_listed_at(*count)).count() < 60,
            "most requests leave the index alone"
        );
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
