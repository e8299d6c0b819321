//! The lease of a record: of all processes that share a store, it lets one at a time ask GitHub for a page. It needs
//! only get, set, delete and increment.
//!
//! `rev` is the revision of the record. It is new and random with every outcome, failures included; a record that does
//! not exist has revision 0. F is the time after which the holder gives up, L the lease time.
//!
//! ```text
//! 1 read R; usable → answer it; n = 0
//! 2 v = increment(lease:key:rev:n, my time · 2^16 + 1)
//!   I am the first → 3
//!   those before me came, on average, more than L and the clocks' difference ago → n += 1, 2
//!   else poll R and the lease key:  rev changed → use that outcome; if there is none, 1
//!                                   lease key gone → 2
//!                                   L since my increment → n += 1, 2     (exactly one process is the first)
//!                                   my own deadline → give up
//! 3 read R again; rev changed → delete my lease key, 1
//!   ask GitHub, give up at F; set R with a new rev; delete lease:key:rev:0..n unless more than L has passed
//! ```
//!
//! Two rules make this safe. Lease keys are deleted only after `rev` has changed, so a process that increments one
//! late fails in step 3. Another process takes over after L, and by then the holder has given up, because F is shorter
//! and counts from before the increment. `tests/stateful/lease_model.rs` tests the model. A store that fails or evicts
//! can break the first rule; then two processes ask GitHub, and both answers are right.
//!
//! A holder that died leaves its lease key behind, and `rev` does not change. The time in the counter spares the next
//! process, perhaps hours later, the wait for L.

use std::time::Duration;

use crate::cache::CLOCK_DIFFERENCE;
use crate::cache::entry::Record;
use crate::ports::{Clock, Store, StoreError};

/// L minus F: the time for the holder's last write.
const GRACE: Duration = Duration::from_secs(5);
/// The first pause between two reads of the record. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause between two reads of the record.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// The bits of a lease's counter that number the processes. The bits above are the sum of their times in seconds, with
/// room for 2^15 processes until the year 2106. A store refuses an increment beyond that.
const NUMBER_BITS: u32 = 16;

/// The time limits of a lease, from before the increment that acquires it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseLimits {
    /// F: after this time the holder gives up.
    pub give_up: Duration,
    /// L: after this time another process may take over.
    pub lease: Duration,
}

impl LeaseLimits {
    /// The limits if a request to GitHub may take `timeout`.
    #[must_use]
    pub fn for_timeout(timeout: Duration) -> Self {
        Self { give_up: timeout, lease: timeout + GRACE }
    }
}

/// The result of [`Lease::acquire`].
#[derive(Debug)]
pub enum Acquisition {
    /// The stored record is usable; no lease is needed.
    Usable(Record),
    /// Another process held the lease and wrote this record.
    Elsewhere(Record),
    /// The caller holds the lease and must release it. The record is the one that the lease is for.
    Acquired(HeldLease, Option<Record>),
    /// `deadline` came first.
    TimedOut,
}

/// A lease that this process holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldLease {
    rev: u64,
    attempt: u32,
    /// The monotonic time before the increment that acquired the lease.
    pub since: Duration,
}

/// The lease of one record.
#[derive(Debug)]
pub struct Lease<'a, S, C> {
    /// The store of the record and of the lease's keys.
    pub store: &'a S,
    /// The clock that measures F and L.
    pub clock: &'a C,
    /// The key of the record.
    pub key: &'a str,
    /// The times F and L.
    pub limits: LeaseLimits,
}

impl<S: Store, C: Clock> Lease<'_, S, C> {
    /// Steps 1 to 3: waits until the record is usable, another process has written an outcome, this process holds the
    /// lease, or `deadline` (monotonic) has come.
    pub async fn acquire(
        &self,
        is_usable: impl Fn(&Record) -> bool,
        deadline: Duration,
    ) -> Result<Acquisition, StoreError> {
        loop {
            let record = self.read().await?;
            let rev = rev(record.as_ref());
            if let Some(record) = record.filter(|record| is_usable(record)) {
                return Ok(Acquisition::Usable(record));
            }
            if let Some(acquisition) = self.contend(rev, deadline).await? {
                return Ok(acquisition);
            }
            if self.clock.monotonic() >= deadline {
                return Ok(Acquisition::TimedOut);
            }
        }
    }

    /// Whether the holder may still write the record. After L, another process may hold the lease.
    #[must_use]
    pub fn is_live(&self, held: HeldLease) -> bool {
        self.clock.monotonic().saturating_sub(held.since) <= self.limits.lease
    }

    /// Removes the lease's keys, unless L has passed. The holder calls this after it has written the record with its new
    /// revision.
    pub async fn release(&self, held: HeldLease) -> Result<(), StoreError> {
        for attempt in 0..=held.attempt {
            if !self.is_live(held) {
                break;
            }
            self.store.delete(&self.lease_key(held.rev, attempt)).await?;
        }
        Ok(())
    }

    /// Steps 2 and 3 for the revision `rev`. `None` means: continue with step 1.
    async fn contend(&self, rev: u64, deadline: Duration) -> Result<Option<Acquisition>, StoreError> {
        let mut attempt = 0;
        loop {
            let since = self.clock.monotonic();
            let ticket = Ticket::at(self.clock.system_at(since));
            let lease_key = self.lease_key(rev, attempt);
            let earlier = ticket.earlier(self.store.increment(&lease_key, ticket.0).await?);
            let Some(earlier) = earlier else {
                let record = self.read().await;
                if record.as_ref().is_ok_and(|record| self::rev(record.as_ref()) == rev) {
                    return Ok(Some(Acquisition::Acquired(HeldLease { rev, attempt, since }, record?)));
                }
                let deleted = self.store.delete(&lease_key).await;
                record?;
                deleted?;
                return Ok(None);
            };
            if earlier + self.limits.lease + CLOCK_DIFFERENCE < ticket.time() {
                attempt += 1;
                continue;
            }
            match self.poll(rev, &lease_key, since, deadline).await? {
                Poll::Changed(Some(record)) => return Ok(Some(Acquisition::Elsewhere(record))),
                Poll::Changed(None) => return Ok(None),
                Poll::Released => {}
                Poll::TimedOut => return Ok(Some(Acquisition::TimedOut)),
                Poll::Expired => attempt += 1,
            }
        }
    }

    /// Polls the record until its revision is no longer `rev`, its lease is released or has expired, or `deadline` has
    /// come.
    async fn poll(
        &self,
        rev: u64,
        lease_key: &str,
        since: Duration,
        deadline: Duration,
    ) -> Result<Poll, StoreError> {
        let keys = [self.key.to_owned(), lease_key.to_owned()];
        let mut pause = FIRST_PAUSE;
        loop {
            let now = self.clock.monotonic();
            if now >= deadline {
                return Ok(Poll::TimedOut);
            }
            let takeover = since + self.limits.lease;
            if now >= takeover {
                return Ok(Poll::Expired);
            }
            self.clock.sleep(pause.min(takeover - now).min(deadline - now)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            let (mut record, mut is_held) = (None, false);
            for (key, value) in self.store.get_many(&keys).await? {
                if key == self.key {
                    record = value.and_then(Record::decode);
                } else {
                    is_held |= value.is_some();
                }
            }
            if self::rev(record.as_ref()) != rev {
                return Ok(Poll::Changed(record));
            }
            if !is_held {
                return Ok(Poll::Released);
            }
        }
    }

    /// Reads the record.
    pub async fn read(&self) -> Result<Option<Record>, StoreError> {
        Ok(self.store.get(self.key).await?.and_then(Record::decode))
    }

    fn lease_key(&self, rev: u64, attempt: u32) -> String {
        format!("lease:{}:{rev:x}:{attempt}", self.key)
    }
}

/// The record's revision; 0 if it does not exist.
fn rev(record: Option<&Record>) -> u64 {
    record.map_or(0, |record| record.rev)
}

/// What a process adds to a lease's counter: 1, and its system time in seconds above [`NUMBER_BITS`].
#[derive(Debug, Clone, Copy)]
struct Ticket(i64);

impl Ticket {
    fn at(now: Duration) -> Self {
        let seconds = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        Self(i64::from(seconds) << NUMBER_BITS | 1)
    }

    fn time(self) -> Duration {
        Duration::from_secs((self.0 >> NUMBER_BITS).unsigned_abs())
    }

    /// The mean time of the processes that came before, where `sum` is the counter with this ticket; `None` if there was
    /// none. The first of them came no later than that.
    fn earlier(self, sum: i64) -> Option<Duration> {
        let others = sum.saturating_sub(self.0).unsigned_abs();
        let number = others & ((1 << NUMBER_BITS) - 1);
        (others >> NUMBER_BITS).checked_div(number).map(Duration::from_secs)
    }
}

/// Why polling ended.
enum Poll {
    /// The record has another revision, or it was removed.
    Changed(Option<Record>),
    /// The lease key is gone, but the record has no new revision: the store lost one of them.
    Released,
    /// The holder has not written an outcome within L.
    Expired,
    /// The deadline came first.
    TimedOut,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_counter_tells_the_mean_time_of_those_before(
            times in proptest::collection::vec(0..u32::MAX, 1..100),
        ) {
            let (mut sum, mut total) = (0, 0);
            for (number, seconds) in (0_u64..).zip(times) {
                let ticket = Ticket::at(Duration::from_secs(seconds.into()));
                sum += ticket.0;
                prop_assert_eq!(ticket.time(), Duration::from_secs(seconds.into()));
                let mean = u64::checked_div(total, number).map(Duration::from_secs);
                prop_assert_eq!(ticket.earlier(sum), mean);
                total += u64::from(seconds);
            }
        }

        #[test]
        fn a_counter_of_whatever_origin_is_survived(sum: i64, now: u64) {
            let _ = Ticket::at(Duration::from_secs(now)).earlier(sum);
        }
    }

    #[test]
    fn the_counter_has_room_for_all_its_processes() {
        let ticket = Ticket::at(Duration::from_secs(u64::MAX)).0;
        assert!(ticket.checked_mul((1 << NUMBER_BITS) / 2 - 1).is_some());
    }
}
