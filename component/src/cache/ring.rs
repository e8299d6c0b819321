//! The bound of the cache in a store that never evicts: a ring of slots for each kind of record.
//!
//! A ring has `capacity` slots. `increment(sequence, 1)` allocates slot `i`, and its owner removes the record that
//! slot `i - capacity` names. The key of a slot contains `i` itself, not its remainder, so no two processes write
//! the same key; at most `capacity` of these keys exist at once.
//!
//! A store that evicts bounds itself, and may remove any of these keys:
//!
//! - Without its slot's key, a record stays when the ring passes the slot. The next write of the record finds that, and
//!   the record gets another slot.
//! - Without the sequence, the ring starts again at a random number, so that no slot's key means two slots. A record that
//!   is in none of the ring's present slots gets another one with its next write.

use crate::cache::entry::Record;
use crate::cache::key::Generation;
use crate::cache::slot::{Ring, Slot};
use crate::ports::{Random, Store, StoreError};

/// The capacity of [`Ring::Negative`].
const NEGATIVE_CAPACITY: u64 = 1024;
/// The most slots that [`count_pages`] looks at.
const SAMPLE: u64 = 64;

/// The two rings of a store, with their capacities.
#[derive(Debug, Clone, Copy)]
pub struct Rings {
    /// The capacity of [`Ring::Entries`].
    pub entries: u64,
}

impl Rings {
    fn capacity(self, ring: Ring) -> u64 {
        match ring {
            Ring::Entries => self.entries.max(1),
            Ring::Negative => NEGATIVE_CAPACITY,
        }
    }

    /// Allocates a slot for `key` and removes the record that it displaces. Callers write the record afterwards: a
    /// crash between the two leaves a slot without a record, but never a record without a slot.
    pub async fn claim<S: Store>(
        self,
        store: &S,
        random: &impl Random,
        ring: Ring,
        key: &str,
    ) -> Result<Slot, StoreError> {
        let number = match store.increment(&ring.sequence_key(), 1).await? {
            ..=1 => self.start(store, random, ring).await?,
            number => number.unsigned_abs(),
        };
        let slot = Slot { ring, number };
        self.keep(store, slot, key).await?;
        if let Some(old) = number.checked_sub(self.capacity(ring)).filter(|old| *old > 0) {
            displace(store, Slot { ring, number: old }).await?;
        }
        Ok(slot)
    }

    /// The number of the last slot of `ring`. If there is none, starts the ring at a random number.
    pub async fn last_or_start<S: Store>(
        self,
        store: &S,
        random: &impl Random,
        ring: Ring,
    ) -> Result<u64, StoreError> {
        match self.last(store, ring).await? {
            0 => self.start(store, random, ring).await,
            last => Ok(last),
        }
    }

    /// Starts the sequence of `ring`, which is new or was lost, at a random number of 40 bits.
    async fn start<S: Store>(self, store: &S, random: &impl Random, ring: Ring) -> Result<u64, StoreError> {
        let number = i64::try_from(random.random() >> 24).unwrap_or_default().saturating_add(1);
        Ok(store.increment(&ring.sequence_key(), number).await?.unsigned_abs())
    }

    /// Writes that `slot` names `key`, so that a store that forgets what nobody writes keeps the slot with its record.
    pub async fn keep<S: Store>(self, store: &S, slot: Slot, key: &str) -> Result<(), StoreError> {
        store.set(&slot.key(), key.as_bytes()).await
    }

    /// The number of the last slot of `ring`.
    async fn last<S: Store>(self, store: &S, ring: Ring) -> Result<u64, StoreError> {
        Ok(u64::try_from(store.increment(&ring.sequence_key(), 0).await?).unwrap_or(0))
    }

    /// Whether the ring has already displaced `slot`, or has started again; if so, the slot is released. Callers ask
    /// after they have written the record. The process that displaced the slot may have looked for the record before it
    /// was written, and then nothing would ever remove the record.
    pub async fn has_passed<S: Store>(self, store: &S, slot: Slot) -> Result<bool, StoreError> {
        let last = self.last(store, slot.ring).await?;
        let passed = last < slot.number || last >= slot.number.saturating_add(self.capacity(slot.ring));
        if passed {
            store.delete(&slot.key()).await?;
        }
        Ok(passed)
    }
}

/// Removes the record that `slot` names, and the slot.
async fn displace<S: Store>(store: &S, slot: Slot) -> Result<(), StoreError> {
    let slot_key = slot.key();
    let Some(name) = store.get(&slot_key).await? else { return Ok(()) };
    if let Ok(key) = String::from_utf8(name)
        && let Some(value) = store.get(&key).await?
    {
        // The record may have moved to a later slot. A record of another format does not tell, and goes.
        if Record::decode(value).is_none_or(|record| record.slot == slot) {
            store.delete(&key).await?;
        }
    }
    store.delete(&slot_key).await
}

/// How many pages of `generation` are stored, which starts after slot `slots_before`. Looks at [`SAMPLE`] of its slots at
/// most: the number is exact if the generation has no more of them, or if every slot has its page. It is never above the
/// capacity. `random` chooses the sample.
pub async fn count_pages<S: Store>(
    rings: Rings,
    store: &S,
    generation: Generation,
    slots_before: u64,
    random: u64,
) -> Result<u64, StoreError> {
    let ring = Ring::Entries;
    let last = rings.last(store, ring).await?;
    // A sequence that started again may be anywhere.
    let before = if slots_before <= last { slots_before } else { 0 };
    let slots = (last - before).min(rings.capacity(ring));
    let sample = slots.min(SAMPLE);
    let offset = random.checked_rem(slots).unwrap_or(0);
    let (mut known, mut live) = (0, 0);
    for nth in 0..sample {
        let place = (nth.saturating_mul(slots) + offset).checked_div(sample).unwrap_or(0);
        let slot = Slot { ring, number: last - place };
        // One at a time, because a page may be large.
        let Some(name) = store.get(&slot.key()).await? else { continue };
        known += 1;
        let Some(key) = String::from_utf8(name).ok().filter(|key| generation.has(key)) else { continue };
        let record = store.get(&key).await?.and_then(Record::decode);
        live += u64::from(record.is_some_and(|record| record.slot == slot && record.content.is_some()));
    }
    // What a slot held whose key is gone is unknown.
    Ok(slots.saturating_mul(live).saturating_add(known / 2).checked_div(known).unwrap_or(0))
}
