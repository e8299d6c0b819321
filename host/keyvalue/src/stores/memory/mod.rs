//! A store in the process's memory.

mod changes;
mod entry;
mod recent;

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use moka::{notification::RemovalCause, policy::EvictionPolicy, sync::Cache};

pub(super) use self::changes::{Changes, Changeset, Stored};
use self::{
    entry::{ENTRY_OVERHEAD, Entry, weight},
    recent::RecentWrites,
};
use crate::{Answer, Error, KeyPage, MAX_VALUE_BYTES, PAGE_KEYS, Samples, Snapshot, Store, Swap};

/// A store in the process's memory, bounded in bytes. When it is full, it evicts by W-TinyLFU.
///
/// A key is either a value or a counter (made by `increment`). Values cannot displace counters. The bound is divided:
/// - 1/8 for counters. When they outgrow it, the least recently used one is evicted.
/// - 1/8 for [`RecentWrites`].
/// - The rest for values that the admission policy keeps.
///
/// Reads of values take no lock. Writes take one, which makes increments and swaps exact. A cache has few writes: each stands
/// for a fetch that many reads share.
#[derive(Debug)]
pub struct MemoryStore {
    values: Cache<Box<str>, Entry>,
    counters: Cache<Box<str>, Counter>,
    writers: Mutex<Writers>,
    evictions: Arc<AtomicU64>,
    /// Where keys are listed that have changed, for a store that writes them.
    changes: Option<Arc<Changes>>,
    max_bytes: u64,
    max_value_bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    version: u64,
    value: i64,
}

/// Invariant: an entry that is in both `recent` and `values` is the same in both, because a writer changes both under this lock.
#[derive(Debug)]
struct Writers {
    recent: RecentWrites,
    /// The last version given out; 0 marks absence.
    version: u64,
    /// Bytes written since the caches last evicted. By themselves they evict only every so many writes.
    bytes_since_eviction: u64,
}

/// What a [`MemoryStore`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Bytes held, with the overhead estimated. An entry that is also among the latest writes counts twice.
    pub bytes: u64,
    /// The bound in bytes.
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
        Self::build(max_bytes, None)
    }

    /// The same store, which lists in `changes` each key that is written, deleted or evicted.
    pub(super) fn with_changes(max_bytes: u64, changes: Arc<Changes>) -> Self {
        Self::build(max_bytes, Some(changes))
    }

    fn build(max_bytes: u64, changes: Option<Arc<Changes>>) -> Self {
        let share = max_bytes / 8;
        let evictions = Arc::new(AtomicU64::new(0));
        let evicted = || {
            let (evictions, changes) = (evictions.clone(), changes.clone());
            move |key: &str, cause: RemovalCause| {
                if cause == RemovalCause::Size {
                    evictions.fetch_add(1, Relaxed);
                    if let Some(changes) = &changes {
                        changes.mark(key);
                    }
                }
            }
        };
        let (value_evicted, counter_evicted) = (evicted(), evicted());
        let values = Cache::<Box<str>, Entry>::builder()
            .max_capacity(max_bytes - 2 * share)
            .weigher(|key, entry: &Entry| clamp(weight(key, &entry.value)))
            .eviction_listener(move |key, _, cause| value_evicted(&key, cause))
            .build();
        let counters = Cache::<Box<str>, Counter>::builder()
            .max_capacity(share)
            .weigher(|key, _: &Counter| clamp(weight(key, &[])))
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |key, _, cause| counter_evicted(&key, cause))
            .build();
        let recent = RecentWrites::new(share);
        // A larger value would leave the recent writes at once, and could be lost as it is written.
        let max_value_bytes = usize::try_from(share.saturating_sub(ENTRY_OVERHEAD)).unwrap_or(usize::MAX);
        Self {
            values,
            counters,
            writers: Mutex::new(Writers { recent, version: 0, bytes_since_eviction: 0 }),
            evictions,
            changes,
            max_bytes,
            max_value_bytes: max_value_bytes.min(MAX_VALUE_BYTES),
        }
    }

    /// What the store holds now.
    #[must_use]
    pub fn usage(&self) -> Usage {
        Usage {
            bytes: self.values.weighted_size() + self.counters.weighted_size() + self.lock().recent.bytes(),
            max_bytes: self.max_bytes,
            values: self.values.entry_count(),
            counters: self.counters.entry_count(),
            evictions: self.evictions.load(Relaxed),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Writers> {
        // Each change leaves the data consistent before it calls anything that could panic.
        self.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state of `key`. The lock is held, so no writer changes it meanwhile.
    fn read(&self, writers: &Writers, key: &str) -> Snapshot {
        if let Some(entry) = writers.recent.get(key) {
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
        // Key and value must fit the recent writes together.
        if value.len() + key.len() > self.max_value_bytes {
            return Err(Error::other(format_args!(
                "the value of {key:?} has {} bytes, over this store's limit of {}",
                value.len(),
                self.max_value_bytes.saturating_sub(key.len())
            )));
        }
        writers.version += 1;
        let entry = Entry { version: writers.version, value };
        writers.bytes_since_eviction += weight(key, &entry.value);
        if self.counters.contains_key(key) {
            self.counters.invalidate(key);
        }
        writers.recent.put(key, entry.clone(), |key, entry| {
            // Offered to the cache again: the cache knows by now how often it is read.
            if !self.values.contains_key(key) {
                self.values.insert(key.into(), entry);
            }
        });
        self.values.insert(key.into(), entry);
        self.evict_if_due(writers);
        Ok(())
    }

    fn count(&self, writers: &mut Writers, key: &str, value: i64) {
        // A value that `set` wrote becomes a counter.
        writers.recent.remove(key);
        self.values.invalidate(key);
        writers.version += 1;
        writers.bytes_since_eviction += weight(key, &[]);
        self.counters.insert(key.into(), Counter { version: writers.version, value });
        self.evict_if_due(writers);
    }

    fn remove(&self, writers: &mut Writers, key: &str) {
        writers.recent.remove(key);
        self.values.invalidate(key);
        self.counters.invalidate(key);
    }

    /// Evicts once a 64th of the bound has been written, so that the bound is exceeded by no more than that.
    fn evict_if_due(&self, writers: &mut Writers) {
        if writers.bytes_since_eviction > self.max_bytes / 64 {
            writers.bytes_since_eviction = 0;
            self.values.run_pending_tasks();
            self.counters.run_pending_tasks();
        }
    }
}

fn clamp(weight: u64) -> u32 {
    u32::try_from(weight).unwrap_or(u32::MAX)
}

/// For a store that writes what changes somewhere else, too.
impl MemoryStore {
    /// Puts back what was written in an earlier process. It does not count as a change, unless there is no room for it.
    pub(super) fn restore(&self, key: &str, stored: Stored) {
        let mut writers = self.lock();
        let restored = match stored {
            Stored::Value(value) => self.write(&mut writers, key, value),
            Stored::Counter(value) => {
                self.count(&mut writers, key, value);
                Ok(())
            }
        };
        if restored.is_err() {
            self.changed(key);
        }
    }

    /// Takes the list of changed keys, with what they hold at this moment.
    pub(super) fn take(&self, changes: &Changes) -> Changeset {
        let writers = self.lock();
        let listed = changes.take();
        let all = listed.is_none();
        let keys = listed.unwrap_or_else(|| {
            let recent = writers.recent.keys().map(Box::from);
            let values = self.values.iter().map(|(key, _)| Box::from(&**key));
            let counters = self.counters.iter().map(|(key, _)| Box::from(&**key));
            recent.chain(values).chain(counters).collect()
        });
        let stored = |key: &str| match self.counters.get(key) {
            Some(counter) => Some(Stored::Counter(counter.value)),
            None => self.read(&writers, key).value.map(Stored::Value),
        };
        let with_content = |key: Box<str>| {
            let stored = stored(&key);
            (key, stored)
        };
        Changeset { all, entries: keys.into_iter().map(with_content).collect() }
    }

    fn changed(&self, key: &str) {
        if let Some(changes) = &self.changes {
            changes.mark(key);
        }
    }
}

/// The operations, as [`Store`] documents them.
impl MemoryStore {
    pub(super) fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        match self.values.get(key) {
            Some(entry) => Ok(Some(entry.value)),
            None => Ok(self.read(&self.lock(), key).value),
        }
    }

    pub(super) fn set(&self, key: &str, value: Bytes) -> Result<(), Error> {
        let mut writers = self.lock();
        self.write(&mut writers, key, value)?;
        self.changed(key);
        Ok(())
    }

    pub(super) fn delete(&self, key: &str) -> Result<(), Error> {
        let mut writers = self.lock();
        self.remove(&mut writers, key);
        self.changed(key);
        Ok(())
    }

    /// One page of the keys with `prefix`, in their order: a cursor is a key and needs no state. Each page looks at every key.
    pub(super) fn list_keys_of(&self, prefix: &str, cursor: Option<&str>) -> Result<KeyPage, Error> {
        let mut page: BTreeSet<Box<str>> = BTreeSet::new();
        let mut more = false;
        let mut offer = |key: &str| {
            let full = page.len() >= PAGE_KEYS;
            let Some(key) = key.strip_prefix(prefix) else { return };
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
        self.lock().recent.keys().for_each(&mut offer);
        self.values.iter().for_each(|(key, _)| offer(&key));
        self.counters.iter().for_each(|(key, _)| offer(&key));
        let cursor = page.last().filter(|_| more).map(|last| last.clone().into_string());
        Ok(KeyPage { keys: page.into_iter().map(String::from).collect(), cursor })
    }

    pub(super) fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        let mut writers = self.lock();
        let present = match self.counters.get(key) {
            Some(counter) => counter.value,
            None => match self.read(&writers, key).value {
                Some(value) => integer(&value).ok_or_else(|| {
                    Error::other(format_args!("cannot increment {key:?}: its value is not an integer"))
                })?,
                None => 0,
            },
        };
        let value = present.checked_add(delta).ok_or_else(|| {
            Error::other(format_args!("cannot increment {key:?}: {present} + {delta} is out of range"))
        })?;
        self.count(&mut writers, key, value);
        self.changed(key);
        Ok(value)
    }

    pub(super) fn snapshot(&self, key: &str) -> Result<Snapshot, Error> {
        Ok(self.read(&self.lock(), key))
    }

    pub(super) fn swap(&self, key: &str, seen: &Snapshot, value: Bytes) -> Result<Swap, Error> {
        let mut writers = self.lock();
        let now = self.read(&writers, key);
        if now.version != seen.version {
            return Ok(Swap::Stale(now));
        }
        self.write(&mut writers, key, value)?;
        self.changed(key);
        Ok(Swap::Done)
    }
}

impl Store for MemoryStore {
    fn get(&self, key: &str) -> Answer<Option<Bytes>> {
        self.get(key).into()
    }

    fn set(&self, key: &str, value: Bytes) -> Answer<()> {
        self.set(key, value).into()
    }

    fn delete(&self, key: &str) -> Answer<()> {
        self.delete(key).into()
    }

    fn list_keys(&self, cursor: Option<&str>) -> Answer<KeyPage> {
        self.list_keys_of("", cursor).into()
    }

    fn list_keys_of(&self, prefix: &str, cursor: Option<&str>) -> Answer<KeyPage> {
        self.list_keys_of(prefix, cursor).into()
    }

    fn increment(&self, key: &str, delta: i64) -> Answer<i64> {
        self.increment(key, delta).into()
    }

    fn snapshot(&self, key: &str) -> Answer<Snapshot> {
        self.snapshot(key).into()
    }

    fn swap(&self, key: &str, seen: &Snapshot, value: Bytes) -> Answer<Swap> {
        self.swap(key, seen, value).into()
    }

    /// The samples have no label for the store: those of all stores in memory are added up.
    fn measure(&self, _name: &str, samples: &mut Samples) {
        self.usage().measure(samples);
    }
}

impl Usage {
    #[expect(clippy::cast_precision_loss, reason = "the format of metrics has floating-point numbers only")]
    fn measure(&self, samples: &mut Samples) {
        let mut gauge = |name, help, value: u64| samples.gauge(name, help, &[], value as f64);
        gauge("memory_bytes", "Bytes that the in-memory stores hold.", self.bytes);
        gauge("memory_limit_bytes", "The most bytes that the in-memory stores may hold.", self.max_bytes);
        gauge("memory_values", "Values that the in-memory stores hold.", self.values);
        gauge("memory_counters", "Counters that the in-memory stores hold.", self.counters);
        let help =
            "Values and counters that were evicted, or not admitted, because an in-memory store was full.";
        samples.counter("memory_evictions_total", help, &[], self.evictions);
    }
}

fn integer(value: &[u8]) -> Option<i64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
