//! Counts of a component's outbound requests, and the permits that limit them.

use super::places::{Places, Share};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use wasi_http_host_core::LogThrottle;
use wasi_http_host_core::histogram::{BUCKETS, Histogram, HistogramSnapshot};
use wasi_http_host_core::labels;
use wasi_http_host_egress::Policy;

static LATENCY_BOUNDS: [Duration; BUCKETS] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(30),
];

labels! {
    /// The outcome of an outbound request, its body included.
    Outcome {
        /// A response with a status below 300.
        Success = "2xx",
        /// A response with a status from 300 to 399.
        Redirection = "3xx",
        /// A response with a status from 400 to 499.
        ClientError = "4xx",
        /// A response with a status of 500 or above.
        ServerError = "5xx",
        /// The policy denied the request.
        Denied = "denied",
        /// The name of the target's host could not be resolved.
        Dns = "dns",
        /// The TCP connection failed, or the proxy refused the connection.
        Connect = "connect",
        /// The TLS handshake failed.
        Tls = "tls",
        /// A timeout of any phase.
        Timeout = "timeout",
        /// A limit of size or concurrency.
        Limit = "limit",
        /// The connection broke, or the response was not valid HTTP.
        Protocol = "protocol",
        /// The guest dropped the request before the response's head arrived.
        Abandoned = "abandoned",
        /// The chain of components that call one another was too long.
        Loop = "loop",
    }
}

impl Outcome {
    /// Returns the outcome of a response with this status.
    #[must_use]
    pub fn of(status: http::StatusCode) -> Self {
        match status.as_u16() {
            ..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

/// Counts of one component's outbound requests by allow-list entry and outcome. These labels are a fixed set: no
/// guest and no host name can add values.
#[derive(Debug)]
pub struct Stats {
    /// The entries, by their indexes in the policy.
    entries: Vec<Arc<Entry>>,
    whole: Arc<Whole>,
}

/// Counts and permits of the whole component, which all its policies share.
#[derive(Debug)]
struct Whole {
    denied: AtomicU64,
    in_flight: AtomicU64,
    log: LogThrottle,
    permits: OnceLock<Permits>,
    share: OnceLock<Arc<Share>>,
}

/// The permits of one component, shared by all its clients. A component that uses up its permits does not affect
/// other components.
#[derive(Debug)]
pub(super) struct Permits {
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) waiting: Semaphore,
}

#[derive(Debug)]
struct Entry {
    text: Box<str>,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    latency: Histogram,
}

/// The counts of one entry of the allow-list.
#[derive(Debug, Clone, PartialEq)]
pub struct EntrySnapshot {
    /// The entry's text.
    pub entry: Box<str>,
    /// The number of finished requests by outcome.
    pub outcomes: Vec<(Outcome, u64)>,
    /// Time to the response's head, for requests that got one.
    pub latency: HistogramSnapshot,
}

impl Stats {
    /// Creates counts of zero for the entries of `policy`.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let whole = Whole {
            denied: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            log: LogThrottle::new(),
            permits: OnceLock::new(),
            share: OnceLock::new(),
        };
        Self { entries: policy.entries().map(Entry::new).collect(), whole: Arc::new(whole) }
    }

    /// Creates the counts for another policy of the same component. Entries in both policies keep their counts. The
    /// component's own counts and permits are shared, so requests under the old and the new policy use the same
    /// permits.
    #[must_use]
    pub fn under(&self, policy: &Policy) -> Self {
        let known = |text: &str| self.entries.iter().find(|entry| *entry.text == *text).cloned();
        let entries = policy.entries().map(|text| known(text).unwrap_or_else(|| Entry::new(text)));
        Self { entries: entries.collect(), whole: self.whole.clone() }
    }

    /// Number of requests that the policy denied.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.whole.denied.load(Relaxed)
    }

    /// The throttle for log lines about denied and failed requests.
    pub(super) fn log(&self) -> &LogThrottle {
        &self.whole.log
    }

    /// Number of requests in flight: their responses are neither read to the end nor dropped.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.whole.in_flight.load(Relaxed)
    }

    /// Returns the present counts by entry.
    pub fn snapshot(&self) -> impl Iterator<Item = EntrySnapshot> + '_ {
        self.entries.iter().map(|entry| EntrySnapshot {
            entry: entry.text.clone(),
            outcomes: Outcome::ALL.into_iter().zip(entry.outcomes.iter().map(|n| n.load(Relaxed))).collect(),
            latency: entry.latency.snapshot(),
        })
    }

    /// Returns the component's permits. The first call sets the number of permits for requests in flight and for
    /// waiting requests.
    pub(super) fn permits(&self, max_concurrent: usize, max_waiting: usize) -> &Permits {
        self.whole.permits.get_or_init(|| Permits {
            in_flight: Arc::new(Semaphore::new(max_concurrent.min(Semaphore::MAX_PERMITS))),
            waiting: Semaphore::new(max_waiting.min(Semaphore::MAX_PERMITS)),
        })
    }

    /// Returns the component's share of the places for connections. The first call adds the component to them.
    pub(super) fn share(&self, places: &Arc<Places>) -> &Arc<Share> {
        self.whole.share.get_or_init(|| places.share())
    }

    /// Number of open connections, idle connections included.
    #[must_use]
    pub fn connections(&self) -> i64 {
        self.whole.share.get().map_or(0, |share| share.open.get())
    }

    /// Number of idle connections that were closed because another connection needed a place.
    #[must_use]
    pub fn reclaimed(&self) -> u64 {
        self.whole.share.get().map_or(0, |share| share.reclaimed.get())
    }

    pub(super) fn count_denied(&self) {
        self.whole.denied.fetch_add(1, Relaxed);
    }

    pub(super) fn begin(&self) {
        self.whole.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn head(&self, entry: usize, elapsed: Duration) {
        if let Some(entry) = self.entries.get(entry) {
            entry.latency.observe(elapsed);
        }
    }

    pub(super) fn end(&self, entry: usize, outcome: Outcome) {
        self.whole.in_flight.fetch_sub(1, Relaxed);
        let counter = self.entries.get(entry).and_then(|entry| entry.outcomes.get(outcome as usize));
        if let Some(counter) = counter {
            counter.fetch_add(1, Relaxed);
        }
    }
}

impl Entry {
    fn new(text: &str) -> Arc<Self> {
        Arc::new(Self {
            text: text.into(),
            outcomes: Default::default(),
            latency: Histogram::new(&LATENCY_BOUNDS),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasi_http_host_egress::AllowList;

    fn policy(entries: &[&str]) -> Policy {
        Policy::new(AllowList::parse(entries).unwrap(), Vec::new())
    }

    #[test]
    fn another_policy_does_not_set_counters_back() {
        let (kept, gone, new) = ("https://kept.example", "https://gone.example", "https://new.example");
        let before = Stats::new(&policy(&[gone, kept]));
        before.begin();
        before.begin();
        before.end(1, Outcome::Success);
        before.count_denied();
        let after = before.under(&policy(&[kept, new]));
        // A request that began under the old policy ends here.
        before.end(1, Outcome::Success);
        let successes: Vec<_> = after.snapshot().map(|entry| (entry.entry, entry.outcomes[0].1)).collect();
        let entries: Vec<Box<str>> = policy(&[kept, new]).entries().map(Box::from).collect();
        assert_eq!(successes, entries.into_iter().zip([2, 0]).collect::<Vec<_>>());
        assert_eq!((after.denied(), after.in_flight()), (1, 0));
    }
}
