use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use wasi_http_host_core::LogThrottle;
use wasi_http_host_core::histogram::{BUCKETS, Histogram, HistogramSnapshot};
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

/// How an outbound request ended, its body included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A response below 200 or from 200 to 299.
    Success,
    /// 300 to 399.
    Redirection,
    /// 400 to 499.
    ClientError,
    /// 500 and above.
    ServerError,
    /// The policy said no.
    Denied,
    /// The host's name could not be resolved.
    Dns,
    /// No TCP connection, or the proxy gave none.
    Connect,
    /// No TLS session.
    Tls,
    /// A time limit, of whichever phase.
    Timeout,
    /// A size or concurrency limit.
    Limit,
    /// The connection broke, or what came was not HTTP.
    Protocol,
    /// The guest gave up before the response's head had come.
    Abandoned,
    /// It was one link too many in a chain of components that ask one another.
    Loop,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Success,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
        Self::Denied,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Limit,
        Self::Protocol,
        Self::Abandoned,
        Self::Loop,
    ];

    /// Its label value in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
            Self::Denied => "denied",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Limit => "limit",
            Self::Protocol => "protocol",
            Self::Abandoned => "abandoned",
            Self::Loop => "loop",
        }
    }

    /// Of a response with this status.
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

/// Outbound requests of one component by allow-list entry and outcome: a closed set of labels, which no guest
/// and no host name can grow.
#[derive(Debug)]
pub struct Stats {
    /// By the policy's number of each.
    entries: Vec<Arc<Entry>>,
    whole: Arc<Whole>,
}

/// What is counted of the component as a whole.
#[derive(Debug)]
struct Whole {
    denied: AtomicU64,
    in_flight: AtomicU64,
    log: LogThrottle,
    places: OnceLock<Places>,
}

/// The places of one component, for all its clients together: one that takes all of them takes nobody else's.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) waiting: Semaphore,
}

#[derive(Debug)]
struct Entry {
    text: Box<str>,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    latency: Histogram,
}

/// What was counted for one entry of the allow-list.
#[derive(Debug, Clone, PartialEq)]
pub struct EntrySnapshot {
    /// The entry's text.
    pub entry: Box<str>,
    /// Finished requests by how they ended.
    pub outcomes: Vec<(Outcome, u64)>,
    /// Time to the response's head, of those that got one.
    pub latency: HistogramSnapshot,
}

impl Stats {
    /// Zeros, for the entries of this policy.
    #[must_use]
    pub fn new(policy: &Policy) -> Self {
        let whole = Whole {
            denied: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            log: LogThrottle::new(),
            places: OnceLock::new(),
        };
        Self { entries: policy.entries().map(Entry::new).collect(), whole: Arc::new(whole) }
    }

    /// The same for another policy: counting goes on for the entries that it has too, and for the component as a whole,
    /// whose requests under the old policy and under the new one have their places in common.
    #[must_use]
    pub fn under(&self, policy: &Policy) -> Self {
        let known = |text: &str| self.entries.iter().find(|entry| *entry.text == *text).cloned();
        let entries = policy.entries().map(|text| known(text).unwrap_or_else(|| Entry::new(text)));
        Self { entries: entries.collect(), whole: self.whole.clone() }
    }

    /// Requests that no entry allows.
    #[must_use]
    pub fn denied(&self) -> u64 {
        self.whole.denied.load(Relaxed)
    }

    /// What is said of requests that were denied or failed.
    pub(super) fn log(&self) -> &LogThrottle {
        &self.whole.log
    }

    /// Requests whose response has not been read to its end, nor dropped.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.whole.in_flight.load(Relaxed)
    }

    /// What was counted so far, by entry.
    pub fn snapshot(&self) -> impl Iterator<Item = EntrySnapshot> + '_ {
        self.entries.iter().map(|entry| EntrySnapshot {
            entry: entry.text.clone(),
            outcomes: Outcome::ALL.into_iter().zip(entry.outcomes.iter().map(|n| n.load(Relaxed))).collect(),
            latency: entry.latency.snapshot(),
        })
    }

    /// The component's places: so many in flight, and so many that wait, when the first is asked for.
    pub(super) fn places(&self, max_concurrent: usize, max_waiting: usize) -> &Places {
        self.whole.places.get_or_init(|| Places {
            in_flight: Arc::new(Semaphore::new(max_concurrent.min(Semaphore::MAX_PERMITS))),
            waiting: Semaphore::new(max_waiting.min(Semaphore::MAX_PERMITS)),
        })
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
        // One that began under the old policy.
        before.end(1, Outcome::Success);
        let successes: Vec<_> = after.snapshot().map(|entry| (entry.entry, entry.outcomes[0].1)).collect();
        let entries: Vec<Box<str>> = policy(&[kept, new]).entries().map(Box::from).collect();
        assert_eq!(successes, entries.into_iter().zip([2, 0]).collect::<Vec<_>>());
        assert_eq!((after.denied(), after.in_flight()), (1, 0));
    }
}
