//! Who asks GitHub, of all that share a store: one at a time for a key, on get, set, delete and increment alone.
//!
//! A record's `rev` is new and random on every outcome, failures included; an absent record counts as rev 0.
//!
//! ```text
//! 1 read R; good enough → answer; n = 0
//! 2 v = increment(lease:key:rev:n, 1)
//!   v = 1 → 3
//!   else poll get(R):  rev changed → that outcome, or if it is none, 1
//!                      L since my increment → n += 1, 2     (exactly one gets 1)
//!                      my own deadline → give up
//! 3 read R again; rev changed → delete my lease key, 1
//!   fetch, given up at F; set R with a new rev; delete lease:key:rev:0..n unless more than L has passed
//! ```
//!
//! Lease keys go only after `rev` has changed, so whoever wins one late fails step 3; takeover (L) comes after the
//! holder's own abort (F). F counts from before the increment. `tests/lease.rs` plays the model.

use std::time::Duration;

use crate::cache::entry::Record;
use crate::ports::{Clock, Store, StoreError};

/// What L is longer than F by: the time for the last write.
const GRACE: Duration = Duration::from_secs(5);
/// The pauses between two looks at what another process does.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The time limits of a lease, from the moment before it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// F: when its holder gives up.
    pub give_up: Duration,
    /// L: when another may take over.
    pub lease: Duration,
}

impl Limits {
    /// The limits where GitHub has `timeout` to answer.
    #[must_use]
    pub fn for_timeout(timeout: Duration) -> Self {
        Self { give_up: timeout, lease: timeout + GRACE }
    }
}

/// How the attempt to get the lease of a key ended.
#[derive(Debug)]
pub enum Turn {
    /// There was nothing to wait for: the record is good enough.
    Found(Record),
    /// Another process has produced this record.
    Theirs(Record),
    /// The lease is ours; so is the duty to finish it.
    Mine(Held, Option<Record>),
    /// The deadline came first.
    TooLate,
}

/// A lease that is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    rev: u64,
    attempt: u32,
    /// The monotonic time before the increment that won it.
    pub since: Duration,
}

/// The lease of one key.
#[derive(Debug)]
pub struct Lease<'a, S, C> {
    /// The store that the record and the lease keys are in.
    pub store: &'a S,
    /// Measures F and L.
    pub clock: &'a C,
    /// The record's key.
    pub key: &'a str,
    /// F and L.
    pub limits: Limits,
}

impl<S: Store, C: Clock> Lease<'_, S, C> {
    /// Steps 1 to 3: waits until a record is `good_enough`, another process has had an outcome, the lease is ours, or
    /// `deadline` (monotonic) has come.
    pub async fn take(
        &self,
        good_enough: impl Fn(&Record) -> bool,
        deadline: Duration,
    ) -> Result<Turn, StoreError> {
        loop {
            let record = self.read().await?;
            let rev = rev(record.as_ref());
            if let Some(record) = record.filter(|record| good_enough(record)) {
                return Ok(Turn::Found(record));
            }
            if let Some(turn) = self.contend(rev, deadline).await? {
                return Ok(turn);
            }
            if self.clock.monotonic() >= deadline {
                return Ok(Turn::TooLate);
            }
        }
    }

    /// Whether a record may still be written under `held`: after L another may be at it.
    #[must_use]
    pub fn is_live(&self, held: Held) -> bool {
        self.clock.monotonic().saturating_sub(held.since) <= self.limits.lease
    }

    /// Removes the lease's keys. Only after the record has got its new rev.
    pub async fn release(&self, held: Held) -> Result<(), StoreError> {
        for attempt in 0..=held.attempt {
            if !self.is_live(held) {
                break;
            }
            self.store.delete(&self.lease_key(held.rev, attempt)).await?;
        }
        Ok(())
    }

    /// Steps 2 and 3 for the revision that was read; `None` leads back to step 1.
    async fn contend(&self, rev: u64, deadline: Duration) -> Result<Option<Turn>, StoreError> {
        let mut attempt = 0;
        loop {
            let since = self.clock.monotonic();
            let lease_key = self.lease_key(rev, attempt);
            if self.store.increment(&lease_key, 1).await? == 1 {
                let record = self.read().await?;
                if self::rev(record.as_ref()) != rev {
                    self.store.delete(&lease_key).await?;
                    return Ok(None);
                }
                return Ok(Some(Turn::Mine(Held { rev, attempt, since }, record)));
            }
            match self.watch(rev, since, deadline).await? {
                Watch::Changed(Some(record)) => return Ok(Some(Turn::Theirs(record))),
                Watch::Changed(None) => return Ok(None),
                Watch::TooLate => return Ok(Some(Turn::TooLate)),
                Watch::HolderIsGone => attempt += 1,
            }
        }
    }

    /// Looks at the record until its revision is no longer `rev`.
    async fn watch(&self, rev: u64, since: Duration, deadline: Duration) -> Result<Watch, StoreError> {
        let mut pause = FIRST_PAUSE;
        loop {
            let now = self.clock.monotonic();
            if now >= deadline {
                return Ok(Watch::TooLate);
            }
            let takeover = since + self.limits.lease;
            if now >= takeover {
                return Ok(Watch::HolderIsGone);
            }
            self.clock.sleep(pause.min(takeover - now).min(deadline - now)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            let record = self.read().await?;
            if self::rev(record.as_ref()) != rev {
                return Ok(Watch::Changed(record));
            }
        }
    }

    async fn read(&self) -> Result<Option<Record>, StoreError> {
        Ok(self.store.get(self.key).await?.and_then(Record::decode))
    }

    fn lease_key(&self, rev: u64, attempt: u32) -> String {
        format!("lease:{}:{rev:x}:{attempt}", self.key)
    }
}

fn rev(record: Option<&Record>) -> u64 {
    record.map_or(0, |record| record.rev)
}

enum Watch {
    Changed(Option<Record>),
    HolderIsGone,
    TooLate,
}
