//! The clients beside the graded load: what they did, and what they found wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Failures that are kept.
const MAX_FAILURES: usize = 20;

/// Counts of the clients beside the graded load.
#[derive(Default)]
pub(super) struct SideLoad {
    stopped: AtomicBool,
    /// Clients that closed the connection within a request or a response.
    pub(super) aborted: AtomicU64,
    /// Clients that read their responses late.
    pub(super) slow_readers: AtomicU64,
    /// Responses over HTTP/2.
    pub(super) multiplexed: AtomicU64,
    /// Times that the cache was cleared.
    pub(super) cleared: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl SideLoad {
    /// Tells the clients to stop.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Whether the clients have to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    /// Records what a client found wrong.
    pub(super) fn fail(&self, what: String) {
        let mut failures = self.lock();
        if failures.len() < MAX_FAILURES {
            failures.push(what);
        }
    }

    /// Takes what the clients found wrong.
    pub(super) fn take_failures(&self) -> Vec<String> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<String>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
