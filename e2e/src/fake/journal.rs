//! The journal of requests.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::lock::lock;

/// Calls kept; the oldest are dropped first.
const MAX_CALLS: usize = 20_000;

/// One request that the fake received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The method as sent.
    pub method: String,
    /// The path as sent, without the query.
    pub path: String,
    /// The query as sent, without the question mark.
    pub query: String,
    /// Names in lower case, in the order sent.
    pub headers: Vec<(String, String)>,
    /// The login that the request asks for, in lower case; empty if it asks for none.
    pub login: String,
}

impl Call {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The recorded calls, and the number of open ones.
#[derive(Default)]
pub struct Journal {
    entries: Arc<Mutex<Entries>>,
}

#[derive(Default)]
struct Entries {
    calls: VecDeque<Call>,
    total: u64,
    open: Open,
    users: HashMap<String, Open>,
}

/// The number of requests that are not yet answered in full.
#[derive(Default, Clone, Copy)]
struct Open {
    now: usize,
    peak: usize,
}

impl Open {
    fn begin(&mut self) {
        self.now += 1;
        self.peak = self.peak.max(self.now);
    }
}

/// A request that is being answered. Dropping it counts the request as answered.
pub(super) struct OpenCall {
    entries: Arc<Mutex<Entries>>,
    login: String,
}

impl Journal {
    /// The calls kept, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.entries).calls.iter().cloned().collect()
    }

    /// The calls for one user, oldest first.
    #[must_use]
    pub fn calls_for(&self, login: &str) -> Vec<Call> {
        let entries = lock(&self.entries);
        entries.calls.iter().filter(|call| call.login.eq_ignore_ascii_case(login)).cloned().collect()
    }

    /// The number of calls since the start or the last [`Journal::clear`], dropped ones included.
    #[must_use]
    pub fn total(&self) -> u64 {
        lock(&self.entries).total
    }

    /// The number of open requests.
    #[must_use]
    pub fn open(&self) -> usize {
        lock(&self.entries).open.now
    }

    /// The most requests that were ever open at once.
    #[must_use]
    pub fn peak(&self) -> usize {
        lock(&self.entries).open.peak
    }

    /// The most requests for one user that were ever open at once.
    #[must_use]
    pub fn peak_for(&self, login: &str) -> usize {
        lock(&self.entries).users.get(&login.to_ascii_lowercase()).map_or(0, |open| open.peak)
    }

    /// Forgets the calls so far; open ones stay counted as open.
    pub fn clear(&self) {
        let mut entries = lock(&self.entries);
        entries.calls.clear();
        entries.total = 0;
    }

    pub(super) fn begin(&self, call: Call) -> OpenCall {
        let login = call.login.to_ascii_lowercase();
        let mut entries = lock(&self.entries);
        entries.open.begin();
        entries.users.entry(login.clone()).or_default().begin();
        entries.total += 1;
        if entries.calls.len() == MAX_CALLS {
            entries.calls.pop_front();
        }
        entries.calls.push_back(call);
        OpenCall { entries: Arc::clone(&self.entries), login }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut entries = lock(&self.entries);
        entries.open.now -= 1;
        if let Some(open) = entries.users.get_mut(&self.login) {
            open.now -= 1;
        }
    }
}
