//! What the fake was asked.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::lock;

/// Calls kept; the oldest go first.
const MAX_CALLS: usize = 20_000;

/// One request that the fake got.
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
    /// The user that it asked for, in lower case; empty where it asked for none.
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

/// The record of all calls, and of how many were open at once.
#[derive(Default)]
pub struct Journal {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    calls: VecDeque<Call>,
    total: u64,
    open: Open,
    users: HashMap<String, Open>,
}

/// Requests begun and not yet answered in full.
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

/// A request that is being answered; dropping it ends it.
pub(crate) struct OpenCall {
    state: Arc<Mutex<State>>,
    login: String,
}

impl Journal {
    /// The calls kept, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        lock(&self.state).calls.iter().cloned().collect()
    }

    /// The calls for one user, oldest first.
    #[must_use]
    pub fn calls_for(&self, login: &str) -> Vec<Call> {
        let state = lock(&self.state);
        state.calls.iter().filter(|call| call.login.eq_ignore_ascii_case(login)).cloned().collect()
    }

    /// How many calls there were in all, forgotten ones included.
    #[must_use]
    pub fn total(&self) -> u64 {
        lock(&self.state).total
    }

    /// How many requests are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        lock(&self.state).open.now
    }

    /// The most requests that were ever open at once.
    #[must_use]
    pub fn peak(&self) -> usize {
        lock(&self.state).open.peak
    }

    /// The most requests for one user that were ever open at once.
    #[must_use]
    pub fn peak_for(&self, login: &str) -> usize {
        lock(&self.state).users.get(&login.to_ascii_lowercase()).map_or(0, |open| open.peak)
    }

    /// Forgets all calls, not the open ones.
    pub fn clear(&self) {
        let mut state = lock(&self.state);
        state.calls.clear();
        state.total = 0;
    }

    pub(crate) fn begin(&self, call: Call) -> OpenCall {
        let login = call.login.to_ascii_lowercase();
        let mut state = lock(&self.state);
        state.open.begin();
        state.users.entry(login.clone()).or_default().begin();
        state.total += 1;
        if state.calls.len() == MAX_CALLS {
            state.calls.pop_front();
        }
        state.calls.push_back(call);
        OpenCall { state: Arc::clone(&self.state), login }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        state.open.now -= 1;
        if let Some(open) = state.users.get_mut(&self.login) {
            open.now -= 1;
        }
    }
}
