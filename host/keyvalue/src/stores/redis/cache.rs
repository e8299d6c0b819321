//! What one thread has read of a store (client-side caching). Redis sends invalidation messages over the same connection.
//!
//! Each thread has its own cache, because the order of messages counts: the reply to a command comes after the invalidations of all
//! keys that changed before Redis carried the command out. A guest that reads after its increment therefore never gets a value from
//! before the increment. Leases and the like rely on that. Other threads take the lock only to invalidate a key that they wrote.
//!
//! Before a thread sends a `GET`, it registers the key as pending. If Redis invalidates the key before the reply arrives, the thread
//! drops the pending entry and does not cache the reply. When the connection closes, the thread drops all pending entries.

use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use wasi_http_host_core::lock;

/// What an entry costs beside key and value, in bytes. An upper estimate.
const ENTRY_OVERHEAD: usize = 256;
/// A value that takes more than this share of the cache is not cached.
const LARGEST_SHARE: usize = 8;

pub(super) struct Cache {
    state: Mutex<State>,
    max_bytes: usize,
    max_age: Duration,
}

#[derive(Default)]
struct State {
    /// A connection is up over which Redis sends invalidation messages.
    live: bool,
    entries: HashMap<Arc<str>, Entry>,
    /// The order of arrival. When an entry is replaced or removed, its old place stays for a while.
    order: VecDeque<(Arc<str>, u64)>,
    pending: HashMap<Arc<str>, Pending>,
    /// The last number given out.
    number: u64,
    totals: CacheTotals,
}

struct Entry {
    /// `None`: the key is known to be absent.
    value: Option<Bytes>,
    since: Instant,
    place: u64,
    /// It was read since eviction last passed it over.
    used: bool,
}

/// Reads of one key that have begun since its last invalidation. Their replies may be cached while this entry is there.
struct Pending {
    id: u64,
    reads: usize,
}

/// What the cache has counted, and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct CacheTotals {
    /// Reads that the cache answered.
    pub(super) hits: u64,
    /// Reads that it would have answered if it had had the key.
    pub(super) misses: u64,
    /// Invalidation messages.
    pub(super) invalidations: u64,
    /// Entries evicted for want of room.
    pub(super) evictions: u64,
    /// Entries now, absent keys included.
    pub(super) entries: usize,
    /// Their bytes, with the overhead estimated.
    pub(super) bytes: usize,
}

impl CacheTotals {
    /// Adds what the other cache has counted, but not what it holds.
    pub(super) fn count(&mut self, other: &Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.invalidations += other.invalidations;
        self.evictions += other.evictions;
    }

    /// Adds what the other cache has counted and what it holds.
    pub(super) fn add(&mut self, other: &Self) {
        self.count(other);
        self.entries += other.entries;
        self.bytes += other.bytes;
    }
}

impl Cache {
    /// A cache that holds nothing until [`Cache::live`] is called.
    pub(super) fn new(max_bytes: usize, max_age: Duration) -> Self {
        Self { state: Mutex::default(), max_bytes, max_age }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// From now on Redis sends invalidation messages, until [`Cache::clear`] is called.
    pub(super) fn live(&self) {
        self.state().live = true;
    }

    /// Redis sends no invalidation messages any more.
    pub(super) fn clear(&self) {
        let mut state = self.state();
        state.live = false;
        state.remove_all();
    }

    /// The value of `key`, or that it has none, if the cache knows.
    pub(super) fn get(&self, key: &str) -> Option<Option<Bytes>> {
        let mut state = self.state();
        let found = state.fresh(key, self.max_age);
        state.totals.hits += u64::from(found.is_some());
        found
    }

    /// The values of all `keys`, if the cache knows all.
    pub(super) fn get_many(&self, keys: &[String]) -> Option<Vec<(String, Option<Bytes>)>> {
        let mut state = self.state();
        let known: Option<Vec<_>> =
            keys.iter().map(|key| Some((key.clone(), state.fresh(key, self.max_age)?))).collect();
        state.totals.hits += known.as_ref().map_or(0, |known| known.len() as u64);
        known
    }

    /// Registers a read as pending, before the command is sent. `None` while nothing can be cached.
    pub(super) fn begin_read(self: &Arc<Self>, key: &str) -> Option<PendingRead> {
        let mut state = self.state();
        if !state.live {
            return None;
        }
        state.totals.misses += 1;
        if let Some((known, pending)) = state.pending.get_key_value(key) {
            let read = PendingRead { cache: self.clone(), key: known.clone(), id: pending.id };
            if let Some(pending) = state.pending.get_mut(key) {
                pending.reads += 1;
            }
            return Some(read);
        }
        let (key, id): (Arc<str>, u64) = (key.into(), state.next());
        state.pending.insert(key.clone(), Pending { id, reads: 1 });
        Some(PendingRead { cache: self.clone(), key, id })
    }

    /// Redis has invalidated `key`, or all keys where it names none.
    pub(super) fn invalidate(&self, key: Option<&str>) {
        let mut state = self.state();
        state.totals.invalidations += 1;
        match key {
            Some(key) => state.remove_with_pending(key),
            None => state.remove_all(),
        }
    }

    /// This process has written `key`.
    pub(super) fn forget(&self, key: &str) {
        self.state().remove_with_pending(key);
    }

    pub(super) fn totals(&self) -> CacheTotals {
        let state = self.state();
        CacheTotals { entries: state.entries.len(), ..state.totals }
    }
}

impl State {
    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    fn fresh(&mut self, key: &str, max_age: Duration) -> Option<Option<Bytes>> {
        let entry = self.entries.get_mut(key)?;
        if entry.since.elapsed() < max_age {
            entry.used = true;
            return Some(entry.value.clone());
        }
        self.remove(key);
        None
    }

    fn remove(&mut self, key: &str) {
        if let Some((key, entry)) = self.entries.remove_entry(key) {
            self.totals.bytes -= weight(&key, entry.value.as_ref());
        }
    }

    fn remove_with_pending(&mut self, key: &str) {
        self.remove(key);
        self.pending.remove(key);
    }

    fn remove_all(&mut self) {
        self.entries = HashMap::new();
        self.order = VecDeque::new();
        self.pending = HashMap::new();
        self.totals.bytes = 0;
    }

    fn insert(&mut self, key: Arc<str>, value: Option<Bytes>, max_bytes: usize) {
        self.remove(&key);
        let weight = weight(&key, value.as_ref());
        if weight > max_bytes / LARGEST_SHARE {
            return;
        }
        let place = self.next();
        self.order.push_back((key.clone(), place));
        self.entries.insert(key, Entry { value, since: Instant::now(), place, used: false });
        self.totals.bytes += weight;
        while self.totals.bytes > max_bytes && self.evict() {}
        // Old places are removed once they outnumber the entries.
        if self.order.len() > 2 * self.entries.len() + 16 {
            let entries = &self.entries;
            self.order.retain(|(key, place)| entries.get(key).is_some_and(|entry| entry.place == *place));
        }
    }

    /// Evicts the oldest entry, unless it was read since it got its place: then it gets a new place (second chance). Returns whether
    /// there was a place.
    fn evict(&mut self) -> bool {
        let Some((key, place)) = self.order.pop_front() else { return false };
        match self.entries.get_mut(&key) {
            Some(entry) if entry.place == place && entry.used => {
                entry.used = false;
                self.order.push_back((key, place));
            }
            Some(entry) if entry.place == place => {
                self.remove(&key);
                self.totals.evictions += 1;
            }
            _ => {}
        }
        true
    }
}

fn weight(key: &str, value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, Bytes::len) + ENTRY_OVERHEAD
}

/// A read that is under way.
pub(super) struct PendingRead {
    cache: Arc<Cache>,
    key: Arc<str>,
    id: u64,
}

impl PendingRead {
    /// Caches the reply, unless the key was invalidated since the read began.
    pub(super) fn end(self, value: Option<&Bytes>) {
        let mut state = self.cache.state();
        if state.pending.get(&self.key).is_some_and(|pending| pending.id == self.id) {
            state.insert(self.key.clone(), value.cloned(), self.cache.max_bytes);
        }
    }
}

impl Drop for PendingRead {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        let pending = state.pending.get_mut(&self.key).filter(|pending| pending.id == self.id);
        let Some(pending) = pending else { return };
        pending.reads -= 1;
        if pending.reads == 0 {
            state.pending.remove(&self.key);
        }
    }
}

/// The caches of all threads.
#[derive(Default)]
pub(super) struct Caches(Mutex<All>);

#[derive(Default)]
struct All {
    live: Vec<Arc<Cache>>,
    /// What the caches of ended threads have counted.
    past: CacheTotals,
}

impl Caches {
    pub(super) fn add(&self, cache: Arc<Cache>) {
        lock(&self.0).live.push(cache);
    }

    pub(super) fn remove(&self, cache: &Arc<Cache>) {
        let mut all = lock(&self.0);
        all.live.retain(|live| !Arc::ptr_eq(live, cache));
        all.past.count(&cache.totals());
    }

    /// This process has written `keys`: no thread answers with an older value any more, even before Redis has invalidated it.
    pub(super) fn forget<'a>(&self, keys: &(impl Iterator<Item = &'a str> + Clone)) {
        for cache in &lock(&self.0).live {
            keys.clone().for_each(|key| cache.forget(key));
        }
    }

    pub(super) fn totals(&self) -> CacheTotals {
        let all = lock(&self.0);
        let mut totals = all.past;
        all.live.iter().for_each(|cache| totals.add(&cache.totals()));
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const AGE: Duration = Duration::from_secs(3600);

    fn cache(max_bytes: usize) -> Arc<Cache> {
        let cache = Arc::new(Cache::new(max_bytes, AGE));
        cache.live();
        cache
    }

    fn remember(cache: &Arc<Cache>, key: &str, value: &[u8]) {
        cache.begin_read(key).unwrap().end(Some(&Bytes::copy_from_slice(value)));
    }

    #[test]
    fn what_was_read_is_known_until_it_changes() {
        let cache = cache(1 << 20);
        assert_eq!(cache.get("k"), None);
        remember(&cache, "k", b"v");
        cache.begin_read("absent").unwrap().end(None);
        assert_eq!(cache.get("k"), Some(Some(Bytes::from_static(b"v"))));
        assert_eq!(cache.get("absent"), Some(None), "that there is nothing is known too");
        assert_eq!(cache.get_many(&["k".into(), "other".into()]), None, "not all are known");
        assert_eq!(cache.get_many(&["k".into(), "absent".into()]).unwrap().len(), 2);
        cache.invalidate(Some("k"));
        assert_eq!((cache.get("k"), cache.get("absent")), (None, Some(None)));
        cache.invalidate(None);
        assert_eq!(cache.get("absent"), None);
        let totals = cache.totals();
        assert_eq!((totals.hits, totals.misses, totals.invalidations), (5, 2, 2));
        assert_eq!((totals.entries, totals.bytes), (0, 0));
    }

    #[test]
    fn an_answer_that_a_change_overtook_is_not_remembered() {
        let cache = cache(1 << 20);
        let early = cache.begin_read("k").unwrap();
        cache.invalidate(Some("k"));
        let late = cache.begin_read("k").unwrap();
        early.end(Some(&Bytes::from_static(b"old")));
        assert_eq!(cache.get("k"), None);
        late.end(Some(&Bytes::from_static(b"new")));
        assert_eq!(cache.get("k"), Some(Some(Bytes::from_static(b"new"))));
        let overtakes: [fn(&Cache); 3] = [
            |cache| cache.forget("k"),
            |cache| cache.invalidate(None),
            |cache| {
                cache.clear();
                cache.live();
            },
        ];
        for overtake in overtakes {
            let read = cache.begin_read("k").unwrap();
            overtake(&cache);
            read.end(Some(&Bytes::from_static(b"old")));
            assert_eq!(cache.get("k"), None);
        }
        assert!(lock(&cache.state).pending.is_empty());
    }

    #[test]
    fn without_a_connection_nothing_is_known_and_nothing_remembered() {
        let cache = cache(1 << 20);
        remember(&cache, "k", b"v");
        cache.clear();
        assert_eq!(cache.get("k"), None);
        assert!(cache.begin_read("k").is_none());
    }

    #[test]
    fn an_entry_has_an_age() {
        let cache = Arc::new(Cache::new(1 << 20, Duration::ZERO));
        cache.live();
        remember(&cache, "k", b"v");
        assert_eq!(cache.get("k"), None);
        assert_eq!(cache.totals().bytes, 0);
    }

    #[test]
    fn the_bound_holds_and_what_is_used_stays() {
        let cache = cache(100 * (ENTRY_OVERHEAD + 108));
        remember(&cache, "used", &[0; 100]);
        for n in 0..10_000 {
            remember(&cache, &format!("flood{n}"), &[0; 100]);
            assert!(cache.totals().bytes <= cache.max_bytes);
            assert!(cache.get("used").is_some(), "{n}");
        }
        assert!(cache.totals().evictions > 9_000);
        remember(&cache, "large", &vec![0; cache.max_bytes / LARGEST_SHARE]);
        assert_eq!(cache.get("large"), None, "it would displace too much");
        for _ in 0..10_000 {
            remember(&cache, "used", b"again");
        }
        let state = lock(&cache.state);
        assert!(state.order.len() <= 2 * state.entries.len() + 16, "{}", state.order.len());
    }

    #[test]
    fn all_threads_forget_what_one_has_written_and_their_counts_are_added_up() {
        let (caches, one, other) = (Caches::default(), cache(1 << 20), cache(1 << 20));
        for cache in [&one, &other] {
            caches.add(cache.clone());
            remember(cache, "k", b"v");
        }
        assert_eq!((caches.totals().entries, caches.totals().misses), (2, 2));
        caches.forget(&["k"].into_iter());
        assert_eq!((one.get("k"), other.get("k")), (None, None));
        caches.remove(&other);
        assert_eq!((caches.totals().entries, caches.totals().misses), (0, 2), "what was counted stays");
    }

    #[derive(Debug, Clone)]
    enum Step {
        Begin(u8),
        /// The server has answered the oldest read.
        Answer,
        Write(u8),
        Get(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = 0..3u8;
        prop_oneof![
            key.clone().prop_map(Step::Begin),
            Just(Step::Answer),
            key.clone().prop_map(Step::Write),
            key.prop_map(Step::Get),
        ]
    }

    proptest! {
        /// A server, and a connection that keeps the order of what it says: no read is older than what it has said.
        #[test]
        fn nothing_that_changed_is_answered(steps in prop::collection::vec(step(), 0..200)) {
            let cache = cache(1 << 20);
            let mut server: HashMap<u8, Bytes> = HashMap::new();
            let mut written = 0u64;
            let mut reads = VecDeque::new();
            for step in steps {
                match step {
                    Step::Begin(key) => {
                        // Carried out by the server at once; the answer is on its way.
                        let read = cache.begin_read(&key.to_string()).unwrap();
                        reads.push_back((read, server.get(&key).cloned()));
                    }
                    Step::Answer => if let Some((read, value)) = reads.pop_front() {
                        read.end(value.as_ref());
                    },
                    Step::Write(key) => {
                        written += 1;
                        server.insert(key, Bytes::from(written.to_string()));
                        cache.invalidate(Some(&key.to_string()));
                    }
                    Step::Get(key) => if let Some(value) = cache.get(&key.to_string()) {
                        prop_assert_eq!(value, server.get(&key).cloned());
                    },
                }
            }
        }
    }
}
