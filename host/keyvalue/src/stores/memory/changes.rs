//! Which keys have changed, for a store that keeps what the memory holds somewhere else, too.

use std::{
    collections::HashSet,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;
use wasi_http_host_core::lock;

use super::entry::ENTRY_OVERHEAD;

/// The keys that have changed since they were last taken. A key that is evicted has changed, too.
#[derive(Debug)]
pub(in crate::stores) struct Changes {
    state: Mutex<State>,
    /// Notified when the first key changes, and at the end.
    begun: Condvar,
    /// The number of the last change that is written, with all before it.
    durable: watch::Sender<u64>,
    max_bytes: u64,
}

#[derive(Debug, Default)]
struct State {
    keys: HashSet<Box<str>>,
    /// What the keys take, with the overhead estimated.
    bytes: u64,
    /// Any key may have changed: there were too many to list.
    all: bool,
    /// What was taken is being written.
    taken: bool,
    /// How many changes there have been.
    count: u64,
    /// How many of them had been when keys were last taken.
    taken_count: u64,
    closed: bool,
}

/// What has changed, as it is at one moment.
#[derive(Debug, Default)]
pub(in crate::stores) struct Changeset {
    /// `entries` are all that there is, rather than what has changed.
    pub(in crate::stores) all: bool,
    /// Keys with what they hold; `None` where that is nothing.
    pub(in crate::stores) entries: Vec<(Box<str>, Option<Stored>)>,
}

/// What a key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::stores) enum Stored {
    /// Made by `set` or `swap`.
    Value(Bytes),
    /// Made by `increment`.
    Counter(i64),
}

impl State {
    fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.all
    }
}

impl Changes {
    /// An empty list that takes at most `max_bytes`. When there is more, it says that any key may have changed.
    pub(in crate::stores) fn new(max_bytes: u64) -> Self {
        Self { state: Mutex::default(), begun: Condvar::new(), durable: watch::Sender::new(0), max_bytes }
    }

    /// `key` has changed.
    pub(in crate::stores) fn mark(&self, key: &str) {
        let mut state = lock(&self.state);
        state.count += 1;
        if state.all || state.keys.contains(key) {
            return;
        }
        let is_first = state.is_empty();
        state.bytes += key.len() as u64 + ENTRY_OVERHEAD;
        if state.bytes > self.max_bytes {
            state.mark_all();
        } else {
            state.keys.insert(key.into());
        }
        if is_first {
            self.begun.notify_all();
        }
    }

    /// Any key may have changed.
    pub(in crate::stores) fn mark_all(&self) {
        lock(&self.state).mark_all();
        self.begun.notify_all();
    }

    /// Marks again what could not be written.
    pub(in crate::stores) fn put_back(&self, changeset: &Changeset) {
        if changeset.all {
            self.mark_all();
        }
        changeset.entries.iter().for_each(|(key, _)| self.mark(key));
    }

    /// Takes the keys; `None` where any key may have changed. They count as being written until [`Changes::written`].
    pub(super) fn take(&self) -> Option<HashSet<Box<str>>> {
        let mut state = lock(&self.state);
        let taken = std::mem::take(&mut *state);
        (state.closed, state.taken) = (taken.closed, true);
        (state.count, state.taken_count) = (taken.count, taken.count);
        (!taken.all).then_some(taken.keys)
    }

    /// What was taken is written, or has been marked again where that failed.
    pub(in crate::stores) fn written(&self, is_durable: bool) {
        let mut state = lock(&self.state);
        state.taken = false;
        if is_durable {
            self.durable.send_replace(state.taken_count);
        }
    }

    /// Ends when all changes up to now are written; `None` if they are already.
    pub(in crate::stores) fn durable(&self) -> Option<impl Future<Output = ()> + use<>> {
        let state = lock(&self.state);
        if state.is_empty() && !state.taken {
            return None;
        }
        let (count, mut durable) = (state.count, self.durable.subscribe());
        Some(async move {
            // An error says that the store is gone: then nobody waits.
            let _ = durable.wait_for(|durable| *durable >= count).await;
        })
    }

    /// Whether nothing has changed that is not written.
    pub(in crate::stores) fn is_clean(&self) -> bool {
        let state = lock(&self.state);
        state.is_empty() && !state.taken
    }

    /// Waits until a key has changed. Returns whether the list is closed.
    pub(in crate::stores) fn wait(&self) -> bool {
        let state = self.begun.wait_while(lock(&self.state), |state| state.is_empty() && !state.closed);
        unpoisoned(state).closed
    }

    /// Waits for this long, or until the list is closed.
    pub(in crate::stores) fn pause(&self, duration: Duration) {
        let waited = self.begun.wait_timeout_while(lock(&self.state), duration, |state| !state.closed);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Nobody takes keys any more once the last have been written.
    pub(in crate::stores) fn close(&self) {
        lock(&self.state).closed = true;
        self.begun.notify_all();
    }
}

impl State {
    fn mark_all(&mut self) {
        (self.keys, self.all) = (HashSet::new(), true);
    }
}

fn unpoisoned<'a>(
    result: Result<MutexGuard<'a, State>, PoisonError<MutexGuard<'a, State>>>,
) -> MutexGuard<'a, State> {
    result.unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_once_and_beyond_the_bound_all_count_as_changed() {
        let changes = Changes::new(3 * (ENTRY_OVERHEAD + 1));
        assert!(changes.is_clean());
        for key in ["a", "b", "a"] {
            changes.mark(key);
        }
        assert_eq!(changes.take().unwrap().len(), 2);
        assert!(!changes.is_clean(), "they are being written");
        changes.written(true);
        assert!(changes.is_clean());
        for key in ["a", "b", "c", "d", "e"] {
            changes.mark(key);
        }
        assert_eq!(changes.take(), None);
        changes.mark("f");
        assert_eq!(changes.take().unwrap().len(), 1, "the next list is a new one");
    }

    #[test]
    fn who_waits_is_woken_by_a_change_and_by_the_end() {
        let changes = Changes::new(1 << 20);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| changes.wait());
            changes.mark("a");
            assert!(!waiting.join().unwrap());
            let pausing = scope.spawn(|| changes.pause(Duration::from_secs(3600)));
            changes.close();
            pausing.join().unwrap();
        });
        assert!(changes.wait());
    }
}
