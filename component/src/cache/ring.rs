//! The bound of the cache in a store that never evicts: a ring of slots for each kind of record.
//!
//! A ring has `capacity` slots. `increment(sequence, 1)` allocates slot `i`, and its owner removes the record that
//! slot `i - capacity` names. The key of a slot contains `i` itself, not its remainder, so no two processes write
//! the same key; at most `capacity` of these keys exist at once.

use crate::cache::entry::Record;
use crate::cache::slot::{Ring, Slot};
use crate::ports::{Store, StoreError};

/// The capacity of [`Ring::Negative`].
const NEGATIVE_CAPACITY: u64 = 1024;

/// The two rings of a store, with their capacities.
#[derive(Debug, Clone, Copy)]
pub struct Rings {
    /// The capacity of [`Ring::Entries`].
    pub entries: u64,
}

/// A record that a ring removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// The key that the record had.
    pub key: String,
    /// Whether the record had a page.
    pub had_content: bool,
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
        ring: Ring,
        key: &str,
    ) -> Result<(Slot, Option<Displaced>), StoreError> {
        let number = u64::try_from(store.increment(&ring.sequence_key(), 1).await?).unwrap_or(1);
        let slot = Slot { ring, number };
        store.set(&slot.key(), key.as_bytes()).await?;
        let Some(old) = number.checked_sub(self.capacity(ring)).filter(|old| *old > 0) else {
            return Ok((slot, None));
        };
        Ok((slot, displace(store, Slot { ring, number: old }).await?))
    }

    /// Whether the ring has already displaced `slot`; if so, the slot is released. Callers ask after they have written
    /// the record. The process that displaced the slot may have looked for the record before it was written, and
    /// then nothing would ever remove the record.
    pub async fn has_passed<S: Store>(self, store: &S, slot: Slot) -> Result<bool, StoreError> {
        let last = u64::try_from(store.increment(&slot.ring.sequence_key(), 0).await?).unwrap_or(0);
        let passed = last >= slot.number.saturating_add(self.capacity(slot.ring));
        if passed {
            store.delete(&slot.key()).await?;
        }
        Ok(passed)
    }
}

/// Removes the record that `slot` names, and the slot.
async fn displace<S: Store>(store: &S, slot: Slot) -> Result<Option<Displaced>, StoreError> {
    let slot_key = slot.key();
    let Some(name) = store.get(&slot_key).await? else { return Ok(None) };
    let mut displaced = None;
    if let Ok(key) = String::from_utf8(name)
        && let Some(value) = store.get(&key).await?
    {
        let record = Record::decode(value);
        // The record may have moved to a later slot. A record of another format does not tell, and goes.
        if record.as_ref().is_none_or(|record| record.slot == slot) {
            store.delete(&key).await?;
            let had_content = record.is_some_and(|record| record.content.is_some());
            displaced = Some(Displaced { key, had_content });
        }
    }
    store.delete(&slot_key).await?;
    Ok(displaced)
}
