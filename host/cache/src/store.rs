//! The bounded store of all responses of the process.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{
        Arc, Mutex,
        atomic::{
            AtomicU64, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
};

use http::HeaderMap;
use wasi_http_host_core::{Counter, lock};

use crate::{
    budget::{Budget, Charge},
    entry::Entry,
    key::{Address, Key},
    shard::Shard,
    vary::Selection,
};

/// The number of shards, a power of two.
const SHARDS: usize = 64;

/// Counts of the store.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) stored: Counter,
    pub(crate) evicted: Counter,
    pub(crate) invalidated: Counter,
    pub(crate) refused: Counter,
}

pub(crate) struct Store {
    shards: Box<[Mutex<Shard>]>,
    /// With a secret, so that nobody can choose addresses that collide.
    hasher: RandomState,
    budget: Arc<Budget>,
    /// The number of invalidations so far.
    invalidations: AtomicU64,
    next_victim: AtomicUsize,
    pub(crate) counts: Counts,
}

impl Store {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            shards: std::iter::repeat_with(Mutex::default).take(SHARDS).collect(),
            hasher: RandomState::new(),
            budget: Budget::new(capacity),
            invalidations: AtomicU64::new(0),
            next_victim: AtomicUsize::new(0),
            counts: Counts::default(),
        }
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn hash(&self, address: &Address<'_>) -> u64 {
        self.hasher.hash_one(address)
    }

    /// The hash of a request's fields that `selection` names.
    pub(crate) fn hash_selected(&self, selection: &Selection, request: &HeaderMap) -> u64 {
        let mut hash = 0;
        selection.values(request, |value| hash = self.hasher.hash_one((hash, value)));
        hash
    }

    /// Calls `used` with the shard of this hash.
    pub(crate) fn with<R>(&self, hash: u64, used: impl FnOnce(&mut Shard) -> R) -> R {
        // The table uses the lowest and the highest bits.
        let at = usize::try_from(hash >> 32).unwrap_or(0) % SHARDS;
        match self.shards.get(at) {
            Some(shard) => used(&mut lock(shard)),
            None => used(&mut Shard::default()),
        }
    }

    /// The number of invalidations so far.
    pub(crate) fn invalidations(&self) -> u64 {
        self.invalidations.load(SeqCst)
    }

    /// The number of a new invalidation.
    pub(crate) fn next_invalidation(&self) -> u64 {
        self.invalidations.fetch_add(1, SeqCst) + 1
    }

    /// Charges bytes, and evicts resources until there is room. `None`: not enough became free, because clients still read evicted
    /// responses.
    pub(crate) fn charge(&self, bytes: usize) -> Option<Charge> {
        if bytes > self.budget.capacity() {
            return None;
        }
        let mut freed = 0;
        loop {
            if let Some(charge) = self.budget.charge(bytes) {
                return Some(charge);
            }
            // Without this limit, clients that do not read could empty the store.
            if freed > 2 * bytes {
                return None;
            }
            freed += self.evict()?;
        }
    }

    /// Evicts one resource, and returns its bytes. `None`: the store is empty.
    fn evict(&self) -> Option<usize> {
        for attempt in 0..2 * SHARDS {
            let at = self.next_victim.fetch_add(1, Relaxed) % SHARDS;
            let Some(shard) = self.shards.get(at) else { continue };
            let entries = {
                let mut shard = lock(shard);
                // The resources of all shards compete: at first only those that were not visited again.
                if attempt < SHARDS && !shard.has_unvisited() {
                    continue;
                }
                shard.evict()
            };
            if !entries.is_empty() {
                self.counts.evicted.inc_by(entries.len() as u64);
                return Some(entries.iter().map(|entry| entry.bytes()).sum());
            }
        }
        None
    }

    /// Removes all entries that `keeps` does not keep. Returns their number.
    pub(crate) fn retain(&self, keeps: impl Fn(&Key, &Arc<Entry>) -> bool) -> usize {
        let removed = self.shards.iter().map(|shard| {
            let removed = lock(shard).retain(&keeps);
            removed.len()
        });
        let removed = removed.sum();
        self.counts.invalidated.inc_by(removed as u64);
        removed
    }

    /// The number of addresses with requests in flight, and of those whose requests do not wait for one another.
    #[cfg(test)]
    pub(crate) fn in_progress(&self) -> (usize, usize) {
        let sizes = self.shards.iter().map(|shard| lock(shard).in_progress());
        sizes.fold((0, 0), |(progress, others), (more, also)| (progress + more, others + also))
    }

    /// The number of stored responses, and the bytes that they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let sizes = self.shards.iter().map(|shard| lock(shard).size());
        sizes.fold((0, 0), |(entries, bytes), (more, size)| (entries + more, bytes + size))
    }
}
