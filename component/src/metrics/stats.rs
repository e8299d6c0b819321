//! The counters of an instance. A request counts in memory; the counters are written to the store after the response.
//!
//! - On some stores an increment is a committed write, so no request waits for one.
//! - A task that outlives the response writes the pending counts, at most once per [`FLUSH_INTERVAL`]. `/metrics` and
//!   `/cache/stats` write them before they read.
//! - An instance writes its first counts immediately after its first response. If the host starts an instance for each
//!   request, no instance has to wait only to write its counts.
//! - A trap loses the counts that are pending.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use crate::metrics::limits::GitHubLimits;
use crate::metrics::pending::PendingCounts;
use crate::metrics::{Counter, Snapshot};
use crate::ports::{Clock, Random, Store, StoreError};
use crate::time::millis;

/// How long counts are collected before a task writes them.
pub const FLUSH_INTERVAL: Duration = Duration::from_millis(450);
/// How long an instance's number of active requests counts after it was written.
const ACTIVE_TTL: Duration = Duration::from_secs(10);
/// After this time, an unchanged number of active requests is written again.
const ACTIVE_REFRESH: Duration = Duration::from_secs(4);
/// The number of slots for numbers of active requests, each used by one instance at a time.
const ACTIVE_SLOTS: i64 = 128;
/// The most keys in one [`Store::get_many`].
const BATCH: usize = 128;

/// The key of the counter that numbers the slots of active requests.
const ACTIVE_SEQUENCE: &str = "metric:active:seq";
/// The key of [`GitHubLimits`].
const LIMITS: &str = "metric:github-limits";

/// The counts of one instance, and what it has written of them.
#[derive(Debug, Default)]
pub struct Stats {
    /// Counts that are not written yet.
    counters: RefCell<PendingCounts>,
    /// GitHub's limits, if they are not written yet.
    limits: Cell<Option<GitHubLimits>>,
    /// Requests that this instance is answering.
    active: Cell<u64>,
    /// Where this instance writes `active`, once it has.
    slot: Cell<Option<ActiveSlot>>,
    is_flush_scheduled: Cell<bool>,
    has_flushed: Cell<bool>,
}

/// The slot that an instance writes its number of active requests to. Two instances may use one slot; then one of the
/// numbers is lost until it is written again.
#[derive(Debug, Clone, Copy)]
struct ActiveSlot {
    number: i64,
    /// A random number that tells this instance's value from another's.
    instance: u64,
    /// The number that was last written.
    written: u64,
    /// When it was written, since the Unix epoch.
    at: Duration,
}

/// A guard that counts a request as active until it is dropped.
#[derive(Debug)]
pub struct ActiveGuard<'a>(&'a Stats);

impl Stats {
    /// Counts a request as active until the returned guard is dropped.
    pub fn enter(&self) -> ActiveGuard<'_> {
        self.active.set(self.active.get() + 1);
        ActiveGuard(self)
    }

    /// Adds `count` to a counter in memory. Saturates.
    pub fn add(&self, counter: Counter, count: u64) {
        self.counters.borrow_mut().add(counter, count);
    }

    /// Records what GitHub says about its limits.
    pub fn set_github_limits(&self, limits: GitHubLimits) {
        self.limits.set(Some(limits));
    }

    /// Marks a flush as scheduled. `true` if none was scheduled before: then the caller must flush.
    pub fn schedule_flush(&self) -> bool {
        !self.is_flush_scheduled.replace(true)
    }

    /// Marks the scheduled flush as started or cancelled: later counts need another one.
    pub fn unschedule_flush(&self) {
        self.is_flush_scheduled.set(false);
    }

    /// `true` for the first caller, which must flush as soon as its response is sent.
    pub fn claim_first_flush(&self) -> bool {
        !self.has_flushed.replace(true)
    }

    /// Writes the counters. What the store does not accept stays pending.
    pub async fn flush<S: Store>(&self, store: &S) -> Result<(), StoreError> {
        let mut pending = self.counters.borrow_mut().take().into_iter();
        while let Some((counter, count)) = pending.next() {
            let delta = i64::try_from(count).unwrap_or(i64::MAX);
            if let Err(error) = store.increment(&counter.key(), delta).await {
                self.add(counter, count);
                pending.for_each(|(counter, count)| self.add(counter, count));
                return Err(error);
            }
        }
        if let Some(limits) = self.limits.take()
            && let Err(error) = write_limits(store, limits).await
        {
            self.limits.set(self.limits.get().or(Some(limits)));
            return Err(error);
        }
        Ok(())
    }

    /// Writes the number of active requests, if it has changed or is about to expire.
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

    /// The numbers of all instances at `now`, the time since the Unix epoch. Callers flush this instance's counters first.
    pub async fn snapshot<S: Store>(&self, now: Duration, store: &S) -> Result<Snapshot, StoreError> {
        let mut counters = read_counters(store, Counter::roots().collect()).await?;
        let details = counters.keys().filter_map(|counter| match counter {
            Counter::Micros(endpoint, method) => Some(Counter::details(*endpoint, *method)),
            _ => None,
        });
        let details = details.flatten().collect();
        counters.append(&mut read_counters(store, details).await?);
        let limits = read_limits(store).await?;
        let active = self.active.get().saturating_add(self.active_elsewhere(now, store).await?);
        Ok(Snapshot { counters, active, limits })
    }

    /// The active requests of the other instances, from the numbers that have not expired.
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

/// Writes GitHub's limits. An answer that does not say how many requests are left does not change that number.
async fn write_limits<S: Store>(store: &S, limits: GitHubLimits) -> Result<(), StoreError> {
    let remaining = match limits.remaining {
        None => read_limits(store).await?.and_then(|limits| limits.remaining),
        remaining => remaining,
    };
    store.set(LIMITS, &GitHubLimits { remaining, ..limits }.encode()).await
}

async fn read_limits<S: Store>(store: &S) -> Result<Option<GitHubLimits>, StoreError> {
    Ok(store.get(LIMITS).await?.as_deref().and_then(GitHubLimits::decode))
}

/// Reads those of `counters` that exist. An `increment` by 0 would create the others.
async fn read_counters<S: Store>(
    store: &S,
    counters: Vec<Counter>,
) -> Result<BTreeMap<Counter, u64>, StoreError> {
    let mut numbers = BTreeMap::new();
    for batch in counters.chunks(BATCH) {
        let keys: Vec<String> = batch.iter().map(|counter| counter.key()).collect();
        let pairs = store.get_many(&keys).await?;
        let existing: Vec<String> = pairs.into_iter().filter_map(|(key, value)| value.map(|_| key)).collect();
        for (counter, key) in batch.iter().zip(&keys) {
            if existing.contains(key) {
                let count = store.increment(key, 0).await?;
                numbers.insert(*counter, u64::try_from(count).unwrap_or_default());
            }
        }
    }
    Ok(numbers)
}

fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_le_bytes)
}

fn active_key(slot: i64) -> String {
    format!("metric:active:{slot}")
}

impl Drop for ActiveGuard<'_> {
    fn drop(&mut self) {
        self.0.active.set(self.0.active.get().saturating_sub(1));
    }
}
