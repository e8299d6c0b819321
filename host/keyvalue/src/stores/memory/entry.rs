//! A value as the store keeps it.

use bytes::Bytes;

/// What an entry costs beside key and value: the cache's table, queues and counts. An upper estimate, in bytes.
pub(super) const ENTRY_OVERHEAD: u64 = 256;

/// A value and the version that its writer gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) version: u64,
    pub(super) value: Bytes,
}

/// The bytes that count against the store's bound.
pub(super) fn weight(key: &str, value: &[u8]) -> u64 {
    key.len() as u64 + value.len() as u64 + ENTRY_OVERHEAD
}

/// The same with the key's copy among the ordered keys.
pub(super) fn indexed_weight(key: &str, value: &[u8]) -> u64 {
    weight(key, value) + key.len() as u64
}
