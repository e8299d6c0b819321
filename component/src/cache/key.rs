//! The keys of the cache's records. Each key starts with the generation that it belongs to, and with the format of its
//! value.

use std::fmt::{self, Write as _};

use crate::cache::entry::FORMAT;

/// A period between two `DELETE /cache`, named by a random number. Entries of earlier generations are never read
/// again; the ring removes them over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generation(u64);

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Generation {
    /// The stored form of the generation called `number`.
    #[must_use]
    pub fn encode(number: u64) -> [u8; 8] {
        number.to_le_bytes()
    }

    /// The generation in `value`; `None` if `value` has another form.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        Some(Self(u64::from_le_bytes(value.try_into().ok()?)))
    }

    /// Whether `key` belongs to this generation.
    #[must_use]
    pub fn has(self, key: &str) -> bool {
        key.strip_prefix(&self.to_string()).is_some_and(|rest| rest.starts_with(':'))
    }
}

/// What identifies a page within a generation.
#[derive(Debug, Clone, Copy)]
pub struct PageKey<'a> {
    /// The user's name in lower case.
    pub user: &'a str,
    /// The number of the page, 1 to 100.
    pub page: u8,
    /// The page size, 1 to 100.
    pub per_page: u8,
}

/// The key of a page's record.
#[must_use]
pub fn entry_key(generation: Generation, page: PageKey<'_>) -> String {
    let mut key = String::with_capacity(96);
    let PageKey { user, page, per_page } = page;
    // Writing to a string cannot fail.
    let _ = write!(key, "{generation}:{FORMAT}:gists:{user}:page{page}:per_page{per_page}");
    key
}

/// The key of the record that says that GitHub knows no such user.
#[must_use]
pub fn absent_key(generation: Generation, user: &str) -> String {
    format!("{generation}:{FORMAT}:absent:{user}")
}
