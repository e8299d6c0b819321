//! The keys of the cache's records. Each key starts with the generation that it belongs to, and with the format of its
//! value.

use std::fmt;
use std::time::Duration;

use crate::cache::entry::FORMAT;
use crate::time::millis;

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
    /// The generation called `number`.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Whether `key` belongs to this generation.
    #[must_use]
    pub fn has(self, key: &str) -> bool {
        key.strip_prefix(&self.to_string()).is_some_and(|rest| rest.starts_with(':'))
    }
}

/// The record of the current generation, as it is stored: three numbers of 8 bytes, little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerationRecord {
    /// The generation.
    pub generation: Generation,
    /// When the record was last written, since the Unix epoch.
    pub written_at: Duration,
    /// The number of the last slot for pages that was allocated before the generation started.
    pub slots_before: u64,
}

impl GenerationRecord {
    /// The key of the record. It names the format of the value: the number of its version.
    pub const KEY: &str = "generation:v3";

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> [u8; 24] {
        let mut value = [0; 24];
        let fields = [self.generation.0, millis(self.written_at), self.slots_before];
        for (bytes, field) in value.chunks_exact_mut(8).zip(fields) {
            bytes.copy_from_slice(&field.to_le_bytes());
        }
        value
    }

    /// The record in `value`; `None` if `value` has another form.
    #[must_use]
    pub fn decode(value: &[u8]) -> Option<Self> {
        let value = <&[u8; 24]>::try_from(value).ok()?;
        let mut fields = value.as_chunks::<8>().0.iter().map(|field| u64::from_le_bytes(*field));
        Some(Self {
            generation: Generation(fields.next()?),
            written_at: Duration::from_millis(fields.next()?),
            slots_before: fields.next()?,
        })
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
    let PageKey { user, page, per_page } = page;
    format!("{generation}:{FORMAT}:gists:{user}:page{page}:per_page{per_page}")
}

/// The key of the record that says when the user was last gone.
#[must_use]
pub fn absent_key(generation: Generation, user: &str) -> String {
    format!("{generation}:{FORMAT}:absent:{user}")
}
