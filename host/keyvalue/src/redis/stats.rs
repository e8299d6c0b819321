use super::cache::{CacheTotals, Caches};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// There was no connection.
    Unreachable,
    /// The connection broke before the answer.
    Broken,
    /// No answer in time.
    Timeout,
    /// Too many commands were waiting already.
    Overload,
    /// The server answered with an error.
    Refused,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Unreachable, Self::Broken, Self::Timeout, Self::Overload, Self::Refused];

    /// Its label value in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
            Self::Overload => "overload",
            Self::Refused => "refused",
        }
    }
}

/// What is counted of a remote store, on all threads together: it is called rarely enough.
pub struct RemoteStats {
    name: String,
    connections: AtomicI64,
    connected: AtomicU64,
    not_connected: AtomicU64,
    in_flight: AtomicI64,
    tracked: AtomicI64,
    pub(super) caches: Caches,
    failures: [AtomicU64; Failure::ALL.len()],
}

/// What was counted so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteSnapshot {
    /// The store's name.
    pub name: String,
    /// Connections that are up: one a thread.
    pub connections: i64,
    /// Attempts to connect that succeeded.
    pub connected: u64,
    /// Attempts that failed.
    pub not_connected: u64,
    /// Commands that wait for their answers.
    pub in_flight: i64,
    /// Connections over which the server says what changes.
    pub tracked: i64,
    /// What all threads remember together.
    pub cache: CacheTotals,
    /// Commands that failed, by reason.
    pub failures: Vec<(Failure, u64)>,
}

impl RemoteStats {
    /// Zeros, for the store of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            connections: AtomicI64::new(0),
            connected: AtomicU64::new(0),
            not_connected: AtomicU64::new(0),
            in_flight: AtomicI64::new(0),
            tracked: AtomicI64::new(0),
            caches: Caches::default(),
            failures: Default::default(),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn snapshot(&self) -> RemoteSnapshot {
        RemoteSnapshot {
            name: self.name.clone(),
            connections: self.connections.load(Relaxed),
            connected: self.connected.load(Relaxed),
            not_connected: self.not_connected.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            tracked: self.tracked.load(Relaxed),
            cache: self.caches.totals(),
            failures: Failure::ALL
                .into_iter()
                .zip(&self.failures)
                .map(|(f, n)| (f, n.load(Relaxed)))
                .collect(),
        }
    }

    pub(super) fn fail(&self, failure: Failure) {
        #[expect(clippy::indexing_slicing, reason = "one element for each variant, in their order")]
        self.failures[failure as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn not_connected(&self) {
        self.not_connected.fetch_add(1, Relaxed);
    }

    /// A connection is up until what this returns is dropped.
    pub(super) fn connected(&self) -> Counted<'_> {
        self.connected.fetch_add(1, Relaxed);
        Counted::new(&self.connections)
    }

    /// A connection says what changes until what this returns is dropped.
    pub(super) fn tracked(&self) -> Counted<'_> {
        Counted::new(&self.tracked)
    }

    /// A command is in flight until what this returns is dropped.
    pub(super) fn sent(&self) -> Counted<'_> {
        Counted::new(&self.in_flight)
    }
}

pub(super) struct Counted<'a>(&'a AtomicI64);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicI64) -> Self {
        counter.fetch_add(1, Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
