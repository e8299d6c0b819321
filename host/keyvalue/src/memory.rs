use super::window::{Entry, Window};
use super::{Error, KeyPage, MAX_VALUE_BYTES, Snapshot, Store, Swap};
use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Most keys in one answer to `list-keys`.
pub const PAGE_KEYS: usize = 1000;

/// What an entry costs beside key and value: the cache's table, queues and counts. An upper estimate.
const ENTRY_OVERHEAD: u64 = 256;

/// A value's bytes in the books.
pub(super) fn weight(key: &str, value: &Bytes) -> u64 {
    key.len() as u64 + value.len() as u64 + ENTRY_OVERHEAD
}

/// A store in the process's memory, bounded in bytes; it forgets what is asked for least (W-TinyLFU).
///
/// A key lives in one of two spaces: values, or counters (made by `increment`), which a flood of values cannot
/// displace. Of the bound, 1/8 is for counters, the least recently used of which goes when they outgrow it, 1/8
/// for the [`Window`] of latest writes, the rest for the values that admission has found worth it.
///
/// Reads of values take no lock. Writes are serialised, which makes increments and swaps exact: a cache's writes
/// are few, since each stands for a fetch that the reads are spared.
#[derive(Debug)]
pub struct MemoryStore {
    values: Cache<Box<str>, Entry>,
    counters: Cache<Box<str>, Counter>,
    writers: Mutex<Writers>,
    evictions: Arc<AtomicU64>,
    max_bytes: u64,
    max_value_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    version: u64,
    value: i64,
}

/// Invariant: an entry that is in both `window` and `values` is the same in both, because whoever changes one
/// holds this lock and changes the other.
#[derive(Debug)]
struct Writers {
    window: Window,
    /// The last version given out; 0 marks absence.
    version: u64,
    /// Bytes written since the cache was last made to evict: it does so by itself only every so many writes.
    unsettled_bytes: u64,
}

/// What a [`MemoryStore`] holds, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes held, with the overhead estimated. An entry that is also among the latest writes counts twice.
    pub bytes: u64,
    /// The bound.
    pub max_bytes: u64,
    /// Values held.
    pub values: u64,
    /// Counters held.
    pub counters: u64,
    /// Values and counters displaced for want of room, or not admitted, since the start.
    pub evictions: u64,
}

impl MemoryStore {
    /// An empty store that holds at most about `max_bytes`. Its largest value is an eighth of that.
    #[must_use]
    pub fn new(max_bytes: u64) -> Self {
        let share = max_bytes / 8;
        let evictions = Arc::new(AtomicU64::new(0));
        let count = |evictions: &Arc<AtomicU64>| {
            let evictions = Arc::clone(evictions);
            move |cause: moka::notification::RemovalCause| {
                if cause == moka::notification::RemovalCause::Size {
                    evictions.fetch_add(1, Relaxed);
                }
            }
        };
        let (count_value, count_counter) = (count(&evictions), count(&evictions));
        let values = Cache::<Box<str>, Entry>::builder()
            .max_capacity(max_bytes - 2 * share)
            .weigher(|key, entry: &Entry| clamp(weight(key, &entry.value)))
            .eviction_listener(move |_, _, cause| count_value(cause))
            .build();
        let counters = Cache::<Box<str>, Counter>::builder()
            .max_capacity(share)
            .weigher(|key, _: &Counter| clamp(weight(key, &Bytes::new())))
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |_, _, cause| count_counter(cause))
            .build();
        let window = Window::new(share);
        // What is larger than the window would be dropped as it is written.
        let max_value_bytes = usize::try_from(share.saturating_sub(ENTRY_OVERHEAD)).unwrap_or(usize::MAX);
        Self {
            values,
            counters,
            writers: Mutex::new(Writers { window, version: 0, unsettled_bytes: 0 }),
            evictions,
            max_bytes,
            max_value_bytes: max_value_bytes.min(MAX_VALUE_BYTES),
        }
    }

    /// What it holds now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            bytes: self.values.weighted_size() + self.counters.weighted_size() + self.lock().window.bytes(),
            max_bytes: self.max_bytes,
            values: self.values.entry_count(),
            counters: self.counters.entry_count(),
            evictions: self.evictions.load(Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writers> {
        // Each change leaves the books consistent before it calls anything that could panic.
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of `key` that no writer can change while it is looked at.
    fn read(&self, writers: &Writers, key: &str) -> Snapshot {
        if let Some(entry) = writers.window.get(key) {
            return Snapshot { version: entry.version, value: Some(entry.value.clone()) };
        }
        if let Some(counter) = self.counters.get(key) {
            return Snapshot { version: counter.version, value: Some(counter.value.to_string().into()) };
        }
        match self.values.get(key) {
            Some(entry) => Snapshot { version: entry.version, value: Some(entry.value) },
            None => Snapshot { version: 0, value: None },
        }
    }

    fn write(&self, writers: &mut Writers, key: &str, value: Bytes) -> Result<(), Error> {
        // The key may take up to its limit beside the value; both have to fit the window.
        if value.len() + key.len() > self.max_value_bytes {
            return Err(Error::other(format_args!(
                "the value of {key:?} has {} bytes, over this store's limit of {}",
                value.len(),
                self.max_value_bytes.saturating_sub(key.len())
            )));
        }
        writers.version += 1;
        let entry = Entry { version: writers.version, value };
        writers.unsettled_bytes += weight(key, &entry.value);
        if self.counters.contains_key(key) {
            self.counters.invalidate(key);
        }
        writers.window.put(key, entry.clone(), |key, entry| {
            // Offered again: by now its popularity is known.
            if !self.values.contains_key(key) {
                self.values.insert(key.into(), entry);
            }
        });
        self.values.insert(key.into(), entry);
        self.settle(writers);
        Ok(())
    }

    fn remove(&self, writers: &mut Writers, key: &str) {
        writers.window.remove(key);
        self.values.invalidate(key);
        self.counters.invalidate(key);
    }

    /// Keeps the overshoot in bytes, not only in entries: evicts once a 64th of the bound has been written.
    fn settle(&self, writers: &mut Writers) {
        if writers.unsettled_bytes > self.max_bytes / 64 {
            writers.unsettled_bytes = 0;
            self.values.run_pending_tasks();
            self.counters.run_pending_tasks();
        }
    }
}

fn clamp(weight: u64) -> u32 {
    u32::try_from(weight).unwrap_or(u32::MAX)
}

impl Store for MemoryStore {
    fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        match self.values.get(key) {
            Some(entry) => Ok(Some(entry.value)),
            None => Ok(self.read(&self.lock(), key).value),
        }
    }

    fn set(&self, key: &str, value: Bytes) -> Result<(), Error> {
        self.write(&mut self.lock(), key, value)
    }

    fn delete(&self, key: &str) -> Result<(), Error> {
        self.remove(&mut self.lock(), key);
        Ok(())
    }

    /// In the order of the keys, so that a cursor is a key and needs no state. Each page looks at every key.
    fn list_keys(&self, cursor: Option<&str>) -> Result<KeyPage, Error> {
        let mut page: BTreeSet<Box<str>> = BTreeSet::new();
        let mut more = false;
        let mut offer = |key: &str| {
            let full = page.len() >= PAGE_KEYS;
            if cursor.is_some_and(|cursor| key <= cursor) || page.contains(key) {
                return;
            }
            more |= full;
            if full && page.last().is_some_and(|last| **last < *key) {
                return;
            }
            page.insert(key.into());
            if full {
                page.pop_last();
            }
        };
        self.lock().window.keys().for_each(&mut offer);
        self.values.iter().for_each(|(key, _)| offer(&key));
        self.counters.iter().for_each(|(key, _)| offer(&key));
        let cursor = page.last().filter(|_| more).map(|last| last.clone().into_string());
        Ok(KeyPage { keys: page.into_iter().map(String::from).collect(), cursor })
    }

    fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        let mut writers = self.lock();
        let present = match self.counters.get(key) {
            Some(counter) => counter.value,
            None => match self.read(&writers, key).value {
                Some(value) => integer(&value).ok_or_else(|| {
                    Error::other(format_args!("cannot increment {key:?}: it holds no integer"))
                })?,
                None => 0,
            },
        };
        let value = present.checked_add(delta).ok_or_else(|| {
            Error::other(format_args!("cannot increment {key:?}: {present} + {delta} is out of range"))
        })?;
        // From now on it is a counter, if it was a value that `set` wrote.
        writers.window.remove(key);
        self.values.invalidate(key);
        writers.version += 1;
        writers.unsettled_bytes += weight(key, &Bytes::new());
        self.counters.insert(key.into(), Counter { version: writers.version, value });
        self.settle(&mut writers);
        Ok(value)
    }

    fn snapshot(&self, key: &str) -> Result<Snapshot, Error> {
        Ok(self.read(&self.lock(), key))
    }

    fn swap(&self, key: &str, seen: &Snapshot, value: Bytes) -> Result<Swap, Error> {
        let mut writers = self.lock();
        let now = self.read(&writers, key);
        if now.version != seen.version {
            return Ok(Swap::Stale(now));
        }
        self.write(&mut writers, key, value).map(|()| Swap::Done)
    }
}

fn integer(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
