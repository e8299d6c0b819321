//! Keys, generations and writes: how the cache lies in its store.

pub mod entry;
pub mod fingerprint;
pub mod freshness;
pub mod ring;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::cache::entry::{Content, Failure, Record};
use crate::cache::freshness::Freshness;
use crate::cache::ring::{Displaced, Ring, Rings, Slot};
use crate::metrics::stats;
use crate::ports::{Clock, Random, Store, StoreError};

/// For how long a user that GitHub does not know is remembered.
pub const ABSENT_TTL: Duration = Duration::from_secs(60);
/// For how long a failure is shared with those who ask for the same.
const FAILURE_TTL: Duration = Duration::from_secs(1);
const GENERATION: &str = "generation";
/// Whoever turns this counter to 1 makes the first generation …
const MAKER: &str = "generation:maker";
/// … and is waited for so long.
const MAKING: Duration = Duration::from_secs(2);
const MAKING_PAUSE: Duration = Duration::from_millis(20);

/// What `DELETE /cache` replaces: entries of another generation are never looked at again, and the rings take them
/// away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generation(u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Generation {
    fn parse(value: &[u8]) -> Option<Self> {
        Some(Self(u64::from_le_bytes(value.try_into().ok()?)))
    }
}

/// What is asked of the cache.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// The user's name in its form for keys.
    pub user: &'a str,
    /// Which page.
    pub page: u8,
    /// Of how many gists.
    pub per_page: u8,
}

/// The cache, in its store.
#[derive(Debug)]
pub struct Cache<S> {
    store: Rc<S>,
    rings: Rings,
}

/// What the cache says at once.
#[derive(Debug)]
pub enum Found {
    /// This page.
    Content(Content, Freshness),
    /// That there is no such user, until then (since the epoch).
    Absent(Duration),
    /// Nothing.
    Nothing,
}

impl<S: Store> Cache<S> {
    /// The cache in `store`, of `entries` entries.
    pub fn new(store: Rc<S>, entries: u64) -> Self {
        Self { store, rings: Rings { entries } }
    }

    /// The store that it is in.
    pub fn store(&self) -> &Rc<S> {
        &self.store
    }

    /// The present generation. Where there is none, one of those who ask makes it, and the others wait for it: each
    /// with its own, they would all ask GitHub.
    pub async fn generation(&self, platform: &(impl Clock + Random)) -> Result<Generation, StoreError> {
        if let Some(generation) = self.present_generation().await? {
            return Ok(generation);
        }
        let patience = platform.monotonic() + MAKING;
        while self.store.increment(MAKER, 1).await? != 1 && platform.monotonic() < patience {
            platform.sleep(MAKING_PAUSE).await;
            if let Some(generation) = self.present_generation().await? {
                return Ok(generation);
            }
        }
        // Whoever wins late finds it made.
        if self.present_generation().await?.is_none() {
            self.renew(platform).await?;
        }
        self.store.delete(MAKER).await?;
        match self.present_generation().await? {
            Some(generation) => Ok(generation),
            None => Err(StoreError::Other("a value that was just written is not there".to_owned())),
        }
    }

    /// The present generation, if there is one yet.
    pub async fn present_generation(&self) -> Result<Option<Generation>, StoreError> {
        Ok(self.store.get(GENERATION).await?.as_deref().and_then(Generation::parse))
    }

    async fn renew(&self, random: &impl Random) -> Result<(), StoreError> {
        self.store.set(GENERATION, &random.random().to_le_bytes()).await
    }

    /// Forgets everything, the statistics included. A fill that is under way writes into the generation that is over.
    pub async fn clear(&self, random: &impl Random) -> Result<(), StoreError> {
        let before = self.present_generation().await?;
        self.renew(random).await?;
        match before {
            Some(before) => stats::remove_tally(&*self.store, before).await,
            None => Ok(()),
        }
    }

    /// What there is about `page` at `now`.
    pub async fn look_up(
        &self,
        generation: Generation,
        page: Page<'_>,
        now: Duration,
    ) -> Result<Found, StoreError> {
        // One call for both: a user who is gone is gone on every page, those that are still fresh included.
        let keys = [entry_key(generation, page), absent_key(generation, page.user)];
        let (mut record, mut absence) = (None, None);
        for (key, value) in self.store.get_many(&keys).await? {
            let [entry_key, absent_key] = &keys;
            let value = value.and_then(Record::decode);
            if key == *entry_key {
                record = value;
            } else if key == *absent_key {
                absence = value;
            }
        }
        let is_remembered = |until: &Duration| now < *until && *until <= now + ABSENT_TTL;
        let until = absence.and_then(|record| record.failure).map(|failure| failure.until);
        if let Some(until) = until.filter(is_remembered) {
            return Ok(Found::Absent(until));
        }
        let content = record.and_then(|record| record.content).filter(|content| is_plausible(content, now));
        Ok(content.map_or(Found::Nothing, |content| {
            let freshness = Freshness::at(now, content.fresh_until);
            Found::Content(content, freshness)
        }))
    }

    /// Writes what is known about a page now. Returns by how much that changed the number of entries.
    pub async fn put(
        &self,
        random: &impl Random,
        generation: Generation,
        key: &str,
        before: Option<&Record>,
        content: Option<&Content>,
        failure: Option<Failure>,
    ) -> Result<i64, StoreError> {
        let ring = if content.is_some() { Ring::Entries } else { Ring::Notes };
        let had_content = before.is_some_and(|record| record.content.is_some());
        let mut change = i64::from(content.is_some()) - i64::from(had_content);
        let kept = before.map(|record| record.slot).filter(|slot| slot.ring == ring || had_content);
        let mut slot = kept;
        for _ in 0..2 {
            let claimed = match slot.take() {
                Some(slot) => slot,
                None => self.claim(generation, ring, key, &mut change).await?,
            };
            let record = Record { rev: rev(random), slot: claimed, content: content.cloned(), failure };
            self.store.set(key, &record.encode()).await?;
            if !self.rings.has_passed(&*self.store, claimed).await? {
                return Ok(change);
            }
        }
        // So many come at once that the ring goes round while one record is written.
        self.store.delete(key).await?;
        Ok(change - i64::from(content.is_some()))
    }

    async fn claim(
        &self,
        generation: Generation,
        ring: Ring,
        key: &str,
        change: &mut i64,
    ) -> Result<Slot, StoreError> {
        let (slot, displaced) = self.rings.claim(&*self.store, ring, key).await?;
        if let Some(Displaced { key, had_content: true }) = displaced
            && is_of(generation, &key)
        {
            *change -= 1;
        }
        Ok(slot)
    }

    /// Remembers at `now` that there is no such user, whatever the page.
    pub async fn put_absent(
        &self,
        random: &impl Random,
        generation: Generation,
        user: &str,
        failure: Failure,
    ) -> Result<i64, StoreError> {
        let key = absent_key(generation, user);
        let before = self.store.get(&key).await?.and_then(Record::decode);
        self.put(random, generation, &key, before.as_ref(), None, Some(failure)).await
    }

    /// Forgets that there is no such user.
    pub async fn remove_absent(&self, generation: Generation, user: &str) -> Result<(), StoreError> {
        self.store.delete(&absent_key(generation, user)).await
    }
}

/// Whether a record spares a question to GitHub at `now`.
#[must_use]
pub fn is_good_enough(record: &Record, now: Duration) -> bool {
    let is_fresh = |content: &Content| {
        Freshness::at(now, content.fresh_until) == Freshness::Fresh && is_plausible(content, now)
    };
    let is_recent =
        |failure: &Failure| failure.at <= now + FAILURE_TTL && now.saturating_sub(failure.at) < FAILURE_TTL;
    record.content.as_ref().is_some_and(is_fresh) || record.failure.as_ref().is_some_and(is_recent)
}

/// An entry from the far future is a clock gone wrong; without this it would be fresh until that clock's time comes.
fn is_plausible(content: &Content, now: Duration) -> bool {
    const CLOCK_DIFFERENCE: Duration = Duration::from_secs(300);
    content.stored_at <= now + CLOCK_DIFFERENCE
}

/// A revision: random, and not 0, which an absent record counts as.
fn rev(random: &impl Random) -> u64 {
    random.random().max(1)
}

/// The key of a page.
#[must_use]
pub fn entry_key(generation: Generation, page: Page<'_>) -> String {
    let mut key = String::with_capacity(96);
    let Page { user, page, per_page } = page;
    // Writing to a string does not fail.
    let _ = fmt::Write::write_fmt(
        &mut key,
        format_args!("{generation}:gists:{user}:page{page}:per_page{per_page}"),
    );
    key
}

fn absent_key(generation: Generation, user: &str) -> String {
    format!("{generation}:absent:{user}")
}

fn is_of(generation: Generation, key: &str) -> bool {
    key.strip_prefix(&generation.to_string()).is_some_and(|rest| rest.starts_with(':'))
}
