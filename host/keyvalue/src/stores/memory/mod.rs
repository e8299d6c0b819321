//! A store in the process's memory.

mod changes;
mod entry;
mod recent;

use std::{
    collections::BTreeSet,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use moka::{notification::RemovalCause, policy::EvictionPolicy, sync::Cache};
use wasi_http_host_core::lock;

pub(super) use self::changes::{Changes, Changeset, Stored};
use self::{
    entry::{ENTRY_OVERHEAD, Entry, indexed_weight, weight},
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
    /// Keys that the caches have evicted since [`MemoryStore::forget_evicted`].
    evicted: Arc<Mutex<Vec<Box<str>>>>,
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
    /// All keys in their order, so that a page of keys costs no more than itself. Also has keys that were evicted a moment ago.
    keys: BTreeSet<Box<str>>,
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
        let (evictions, evicted) = (Arc::new(AtomicU64::new(0)), Arc::<Mutex<Vec<Box<str>>>>::default());
        let on_eviction = || {
            let (evictions, evicted, changes) = (evictions.clone(), evicted.clone(), changes.clone());
            move |key: &str, cause: RemovalCause| {
                if cause == RemovalCause::Size {
                    evictions.fetch_add(1, Relaxed);
                    lock(&evicted).push(key.into());
                    if let Some(changes) = &changes {
                        changes.mark(key);
                    }
                }
            }
        };
        let (value_evicted, counter_evicted) = (on_eviction(), on_eviction());
        let values = Cache::<Box<str>, Entry>::builder()
            .max_capacity(max_bytes - 2 * share)
            .weigher(|key, entry: &Entry| clamp(indexed_weight(key, &entry.value)))
            .eviction_listener(move |key, _, cause| value_evicted(&key, cause))
            .build();
        let counters = Cache::<Box<str>, Counter>::builder()
            .max_capacity(share)
            .weigher(|key, _: &Counter| clamp(indexed_weight(key, &[])))
            .eviction_policy(EvictionPolicy::lru())
            .eviction_listener(move |key, _, cause| counter_evicted(&key, cause))
            .build();
        let recent = RecentWrites::new(share);
        // A larger value would leave the recent writes at once, and could be lost as it is written.
        let max_value_bytes = usize::try_from(share.saturating_sub(ENTRY_OVERHEAD)).unwrap_or(usize::MAX);
        Self {
            values,
            counters,
            writers: Mutex::new(Writers {
                recent,
                keys: BTreeSet::new(),
                version: 0,
                bytes_since_eviction: 0,
            }),
            evictions,
            evicted,
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
        writers.add_key(key);
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
        writers.add_key(key);
        self.counters.insert(key.into(), Counter { version: writers.version, value });
        self.evict_if_due(writers);
    }

    fn remove(&self, writers: &mut Writers, key: &str) {
        writers.recent.remove(key);
        writers.keys.remove(key);
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
        self.forget_evicted(writers);
    }

    /// Removes keys that the caches have evicted from the ordered keys. A key stays that is also among the latest writes, or that
    /// was written again.
    fn forget_evicted(&self, writers: &mut Writers) {
        let evicted = std::mem::take(&mut *lock(&self.evicted));
        for key in evicted {
            let present = writers.recent.get(&key).is_some()
                || self.values.contains_key(&key)
                || self.counters.contains_key(&key);
            if !present {
                writers.keys.remove(&key);
            }
        }
    }
}

impl Writers {
    fn add_key(&mut self, key: &str) {
        if !self.keys.contains(key) {
            self.keys.insert(key.into());
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

    /// One page of the keys with `prefix`, in their order: a cursor is a key and needs no state.
    pub(super) fn list_keys_of(&self, prefix: &str, cursor: Option<&str>) -> Result<KeyPage, Error> {
        let mut writers = self.lock();
        self.forget_evicted(&mut writers);
        let start = format!("{prefix}{}", cursor.unwrap_or_default());
        let start = if cursor.is_some() { Bound::Excluded(&*start) } else { Bound::Included(&*start) };
        let range = writers.keys.range::<str, _>((start, Bound::Unbounded));
        let mut keys = range.map_while(|key| key.strip_prefix(prefix));
        let page: Vec<String> = keys.by_ref().take(PAGE_KEYS).map(str::to_owned).collect();
        let cursor = keys.next().and_then(|_| page.last().cloned());
        Ok(KeyPage { keys: page, cursor })
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
