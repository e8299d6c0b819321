//! The slots of the two rings, as records and keys name them.

use std::fmt::Write as _;

/// The two rings. They are separate, so that requests for names that do not exist cannot evict pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// Records with a page, and records that had one when they were first written.
    Entries,
    /// Negative entries: records of failures and of users that do not exist.
    Negative,
}

impl Ring {
    fn name(self) -> &'static str {
        match self {
            Self::Entries => "entries",
            // Existing stores have this name in their keys.
            Self::Negative => "notes",
        }
    }

    /// The key of the counter that numbers the ring's slots.
    #[must_use]
    pub fn sequence_key(self) -> String {
        format!("ring:{}:seq", self.name())
    }
}

/// A slot of a ring: the place of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The ring that the slot belongs to.
    pub ring: Ring,
    /// The slot's number in the order of allocation, from 1. It is not reduced by the ring's capacity.
    pub number: u64,
}

impl Slot {
    const NEGATIVE_BIT: u64 = 1 << 63;

    /// The slot's stored form: its number, with the highest bit set for [`Ring::Negative`].
    #[must_use]
    pub fn to_bits(self) -> u64 {
        match self.ring {
            Ring::Entries => self.number & !Self::NEGATIVE_BIT,
            Ring::Negative => self.number | Self::NEGATIVE_BIT,
        }
    }

    /// The slot whose stored form is `bits`.
    #[must_use]
    pub fn from_bits(bits: u64) -> Self {
        let ring = if bits & Self::NEGATIVE_BIT == 0 { Ring::Entries } else { Ring::Negative };
        Self { ring, number: bits & !Self::NEGATIVE_BIT }
    }

    /// The key whose value names the record in this slot.
    #[must_use]
    pub fn key(self) -> String {
        let mut key = String::with_capacity(32);
        // Writing to a string cannot fail.
        let _ = write!(key, "ring:{}:{}", self.ring.name(), self.number);
        key
    }
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
