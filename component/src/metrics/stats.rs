//! Counting: in the instance's memory on a request's way, into the store behind its back.
//!
//! On some stores an increment is a committed write, so none is made while anybody waits. A task that outlives the
//! response writes what has gathered, at most every [`FLUSH_INTERVAL`]; `/metrics` and `/cache/stats` write it before
//! they read. Only a trap loses what has not been written yet. An instance writes what it counted first right behind
//! its response: where each request gets an instance of its own, none stays only to count.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::cache::Generation;
use crate::cache::entry::millis;
use crate::metrics::{Counter, Snapshot};
use crate::ports::{Clock, Random, Store, StoreError};

/// How long counts gather before they are written.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(450);
/// An instance's number of active requests counts for this long after it was written.
const ACTIVE_TTL: Duration = Duration::from_secs(10);
/// It is written again, unchanged, after this long.
const ACTIVE_REFRESH: Duration = Duration::from_secs(4);
/// How many instances' numbers of active requests are kept.
const ACTIVE_SLOTS: i64 = 128;
/// How many keys are asked for at once.
const BATCH: usize = 128;
/// Counts of this many generations wait at once; more than one only while a `DELETE /cache` is news.
const GENERATIONS: usize = 4;

const ACTIVE_SEQUENCE: &str = "metric:active:seq";
const REMAINING: &str = "metric:rate-limit-remaining";

/// What an instance has counted and not yet written.
#[derive(Debug, Default)]
pub struct Stats {
    counters: RefCell<BTreeMap<Counter, u64>>,
    tallies: RefCell<Vec<(Generation, Tally)>>,
    remaining: Cell<Option<u64>>,
    active: Cell<u64>,
    slot: Cell<Option<ActiveSlot>>,
    flush_is_due: Cell<bool>,
    has_flushed: Cell<bool>,
}

/// What `/cache/stats` counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests answered from the cache.
    pub hits: i64,
    /// Requests that GitHub was asked for.
    pub misses: i64,
    /// Entries stored.
    pub size: i64,
}

#[derive(Debug, Clone, Copy)]
struct ActiveSlot {
    number: i64,
    instance: u64,
    written: u64,
    at: Duration,
}

/// Counts a request as active while it exists.
#[derive(Debug)]
pub struct Active<'a>(&'a Stats);

impl Stats {
    /// Counts a request as active until the guard is dropped.
    pub fn enter(&self) -> Active<'_> {
        self.active.set(self.active.get() + 1);
        Active(self)
    }

    /// Adds to a counter.
    pub fn add(&self, counter: Counter, count: u64) {
        let mut counters = self.counters.borrow_mut();
        let sum = counters.entry(counter).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Adds to what `/cache/stats` shows of a generation.
    pub fn tally(&self, generation: Generation, change: Tally) {
        let mut tallies = self.tallies.borrow_mut();
        match tallies.iter_mut().find(|(of, _)| *of == generation) {
            Some((_, tally)) => tally.add(change),
            None => {
                if tallies.len() >= GENERATIONS {
                    tallies.remove(0);
                }
                tallies.push((generation, change));
            }
        }
    }

    /// Takes down what GitHub says is left of its rate limit.
    pub fn set_rate_limit_remaining(&self, remaining: u64) {
        self.remaining.set(Some(remaining));
    }

    /// Takes the duty to flush; `false` where somebody has it already.
    pub fn take_flush_duty(&self) -> bool {
        !self.flush_is_due.replace(true)
    }

    /// Lays the duty down: from now on what is counted needs another flush.
    pub fn lay_down_flush_duty(&self) {
        self.flush_is_due.set(false);
    }

    /// Whether nothing has been flushed yet, asked once: whoever is told so flushes.
    pub fn take_first_flush(&self) -> bool {
        !self.has_flushed.replace(true)
    }

    /// Writes the counters. What the store does not take stays here for the next time.
    pub async fn flush<S: Store>(&self, store: &S) -> Result<(), StoreError> {
        let mut pending = self.counters.take().into_iter();
        while let Some((counter, count)) = pending.next() {
            let delta = i64::try_from(count).unwrap_or(i64::MAX);
            if let Err(error) = store.increment(&counter.key(), delta).await {
                self.add(counter, count);
                pending.for_each(|(counter, count)| self.add(counter, count));
                return Err(error);
            }
        }
        if let Some(remaining) = self.remaining.take()
            && let Err(error) = store.set(REMAINING, &remaining.to_le_bytes()).await
        {
            self.remaining.set(self.remaining.get().or(Some(remaining)));
            return Err(error);
        }
        Ok(())
    }

    /// Writes the tallies of `present` to the cache's store, and drops those of generations that are over: a late
    /// flush must not bring back what `DELETE /cache` has reset.
    pub async fn flush_tallies<S: Store>(&self, store: &S, present: Generation) -> Result<(), StoreError> {
        let mine = self.tallies.take().into_iter().find(|(generation, _)| *generation == present);
        let Some((_, mut tally)) = mine else { return Ok(()) };
        let mut failure = None;
        for (name, count) in tally.parts() {
            if *count != 0 && failure.is_none() {
                match store.increment(&tally_key(present, name), *count).await {
                    Ok(_) => *count = 0,
                    Err(error) => failure = Some(error),
                }
            }
        }
        match failure {
            None => Ok(()),
            Some(error) => {
                self.tally(present, tally);
                Err(error)
            }
        }
    }

    /// Whether a flush of the tallies has anything to write.
    pub fn has_tallies(&self) -> bool {
        !self.tallies.borrow().is_empty()
    }

    /// Writes the number of active requests, where it is news or about to be forgotten.
    pub async fn report_active<S: Store>(
        &self,
        platform: &(impl Clock + Random),
        store: &S,
    ) -> Result<(), StoreError> {
        let active = self.active.get();
        let slot = match self.slot.get() {
            Some(slot) => slot,
            None if active == 0 => return Ok(()),
            None => {
                let number = store.increment(ACTIVE_SEQUENCE, 1).await?.rem_euclid(ACTIVE_SLOTS);
                ActiveSlot { number, instance: platform.random(), written: 0, at: Duration::ZERO }
            }
        };
        let now = platform.system();
        let is_old = active > 0 && now.saturating_sub(slot.at) >= ACTIVE_REFRESH;
        if active != slot.written || is_old {
            let mut value = [0; 24];
            for (field, number) in value.chunks_exact_mut(8).zip([slot.instance, millis(now), active]) {
                field.copy_from_slice(&number.to_le_bytes());
            }
            store.set(&active_key(slot.number), &value).await?;
            self.slot.set(Some(ActiveSlot { written: active, at: now, ..slot }));
        }
        Ok(())
    }

    /// All instances' numbers, from the store; this one's are to be flushed first.
    pub async fn snapshot<S: Store>(&self, now: Duration, store: &S) -> Result<Snapshot, StoreError> {
        let mut counters = read_counters(store, Counter::roots().collect()).await?;
        let details = counters.keys().filter_map(|counter| match counter {
            Counter::Micros(endpoint, method) => Some(Counter::details(*endpoint, *method)),
            _ => None,
        });
        let details = details.flatten().collect();
        counters.append(&mut read_counters(store, details).await?);
        let rate_limit_remaining = store.get(REMAINING).await?.as_deref().and_then(number);
        let active = self.active.get().saturating_add(self.active_elsewhere(now, store).await?);
        Ok(Snapshot { counters, active, rate_limit_remaining })
    }

    /// The other instances' active requests, as far as they have been heard of lately.
    async fn active_elsewhere<S: Store>(&self, now: Duration, store: &S) -> Result<u64, StoreError> {
        let keys: Vec<String> = (0..ACTIVE_SLOTS).map(active_key).collect();
        let own = self.slot.get().map(|slot| slot.instance);
        let others = store.get_many(&keys).await?.into_iter().filter_map(|(_, value)| {
            let value = value?;
            let mut fields = value.chunks(8).map(number);
            let (instance, at, active) = (fields.next()??, fields.next()??, fields.next()??);
            let is_recent = now.saturating_sub(Duration::from_millis(at)) < ACTIVE_TTL;
            (Some(instance) != own && is_recent).then_some(active)
        });
        Ok(others.fold(0, u64::saturating_add))
    }
}

/// What the store has counted for `/cache/stats` in a generation.
pub async fn read_tally<S: Store>(store: &S, generation: Generation) -> Result<Tally, StoreError> {
    let mut tally = Tally::default();
    let keys = tally.parts().map(|(name, _)| tally_key(generation, name));
    let found = existing(store, &keys).await?;
    for ((_, count), key) in tally.parts().into_iter().zip(&keys) {
        if found.contains(key) {
            *count = store.increment(key, 0).await?.max(0);
        }
    }
    Ok(tally)
}

/// Removes what was counted for `/cache/stats` in a generation that is over.
pub async fn remove_tally<S: Store>(store: &S, generation: Generation) -> Result<(), StoreError> {
    for (name, _) in Tally::default().parts() {
        store.delete(&tally_key(generation, name)).await?;
    }
    Ok(())
}

/// Reads those of `counters` that exist: an `increment` by 0 would create the others.
async fn read_counters<S: Store>(
    store: &S,
    counters: Vec<Counter>,
) -> Result<BTreeMap<Counter, u64>, StoreError> {
    let mut numbers = BTreeMap::new();
    for batch in counters.chunks(BATCH) {
        let keys: Vec<String> = batch.iter().map(|counter| counter.key()).collect();
        let found = existing(store, &keys).await?;
        for (counter, key) in batch.iter().zip(&keys) {
            if found.contains(key) {
                let count = store.increment(key, 0).await?;
                numbers.insert(*counter, u64::try_from(count).unwrap_or_default());
            }
        }
    }
    Ok(numbers)
}

async fn existing<S: Store>(store: &S, keys: &[String]) -> Result<Vec<String>, StoreError> {
    let pairs = store.get_many(keys).await?;
    Ok(pairs.into_iter().filter_map(|(key, value)| value.map(|_| key)).collect())
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

fn tally_key(generation: Generation, name: &str) -> String {
    format!("{generation}:stats:{name}")
}

fn active_key(slot: i64) -> String {
    format!("metric:active:{slot}")
}

impl Tally {
    /// One request answered from the cache.
    pub const HIT: Self = Self { hits: 1, misses: 0, size: 0 };
    /// One request that GitHub was asked for.
    pub const MISS: Self = Self { hits: 0, misses: 1, size: 0 };

    fn add(&mut self, other: Self) {
        self.hits = self.hits.saturating_add(other.hits);
        self.misses = self.misses.saturating_add(other.misses);
        self.size = self.size.saturating_add(other.size);
    }

    fn parts(&mut self) -> [(&'static str, &mut i64); 3] {
        [("hits", &mut self.hits), ("misses", &mut self.misses), ("size", &mut self.size)]
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
    }
}
