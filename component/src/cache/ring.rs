//! What keeps a store that never evicts from growing for ever.
//!
//! A ring of `capacity` slots: number `i` of `increment(seq, 1)` owns slot `i`, and takes away what slot
//! `i - capacity` names. The slot's key carries `i` itself rather than its remainder, so that two processes never
//! write one slot; no more than `capacity` of them exist at once.

use std::fmt::Write as _;

use crate::cache::entry::Record;
use crate::ports::{Store, StoreError};

/// How many failures and absent users are remembered: apart from the entries, so that whoever asks for names that
/// do not exist evicts no entry.
const NOTES_CAPACITY: u64 = 1024;

/// One of the two rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// Records that hold a good answer (or did when they came).
    Entries,
    /// Records of failures and of users that do not exist.
    Notes,
}

/// A slot of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Which ring.
    pub ring: Ring,
    /// Which number, counted from 1.
    pub number: u64,
}

impl Slot {
    const NOTES_BIT: u64 = 1 << 63;

    /// The slot as a number.
    #[must_use]
    pub fn to_bits(self) -> u64 {
        match self.ring {
            Ring::Entries => self.number & !Self::NOTES_BIT,
            Ring::Notes => self.number | Self::NOTES_BIT,
        }
    }

    /// The slot that [`Slot::to_bits`] gave.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        let ring = if bits & Self::NOTES_BIT == 0 { Ring::Entries } else { Ring::Notes };
        Self { ring, number: bits & !Self::NOTES_BIT }
    }

    fn key(self) -> String {
        slot_key(self.ring, self.number)
    }
}

fn slot_key(ring: Ring, number: u64) -> String {
    let mut key = String::with_capacity(32);
    let _ = write!(key, "ring:{}:{number}", ring.name());
    key
}

impl Ring {
    fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            Self::Notes => "notes",
        }
    }

    fn sequence_key(self) -> String {
        format!("ring:{}:seq", self.name())
    }
}

/// Both rings of one store.
#[derive(Debug, Clone, Copy)]
pub struct Rings {
    /// The capacity of [`Ring::Entries`].
    pub entries: u64,
}

/// A record that had to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Displaced {
    /// Its key.
    pub key: String,
    /// Whether it held an answer.
    pub had_content: bool,
}

impl Rings {
    fn capacity(self, ring: Ring) -> u64 {
        match ring {
            Ring::Entries => self.entries.max(1),
            Ring::Notes => NOTES_CAPACITY,
        }
    }

    /// Takes a slot for `key`, before its record is written, and removes the record that the ring has come round to.
    /// A crash in between leaves a slot that names nothing, and no record that no slot names.
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

    /// Whether the ring has come round to `slot` already, which then is given up. To be asked after the record is
    /// written: whoever took the slot's successor may have looked for the record before it was there, and then nobody
    /// would ever take it away.
    pub async fn has_passed<S: Store>(self, store: &S, slot: Slot) -> Result<bool, StoreError> {
        let last = u64::try_from(store.increment(&slot.ring.sequence_key(), 0).await?).unwrap_or(0);
        let passed = last >= slot.number.saturating_add(self.capacity(slot.ring));
        if passed {
            store.delete(&slot.key()).await?;
        }
        Ok(passed)
    }
}

async fn displace<S: Store>(store: &S, slot: Slot) -> Result<Option<Displaced>, StoreError> {
    let slot_key = slot.key();
    let Some(name) = store.get(&slot_key).await? else { return Ok(None) };
    let mut displaced = None;
    if let Ok(key) = String::from_utf8(name)
        && let Some(value) = store.get(&key).await?
    {
        let record = Record::decode(value);
        // The record may have moved to a younger slot.
        if record.as_ref().is_none_or(|record| record.slot == slot) {
            store.delete(&key).await?;
            let had_content = record.is_some_and(|record| record.content.is_some());
            displaced = Some(Displaced { key, had_content });
        }
    }
    store.delete(&slot_key).await?;
    Ok(displaced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_slot_survives_its_number(bits: u64) {
            prop_assert_eq!(Slot::from_bits(bits).to_bits(), bits);
        }
    }
}
