//! The latest writes.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::entry::{Entry, weight};

/// The latest writes, up to a number of bytes. A value that has just been written stays readable until so many bytes have been
/// written after it, even if the main cache does not admit it. The oldest write leaves first.
#[derive(Debug, Default)]
pub(super) struct RecentWrites {
    entries: HashMap<Arc<str>, (Entry, u64)>,
    /// The order of writes. When a key is written again or removed, its old place stays until [`RecentWrites::compact`].
    order: VecDeque<(Arc<str>, u64)>,
    writes: u64,
    bytes: u64,
    max_bytes: u64,
}

impl RecentWrites {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self { max_bytes, ..Self::default() }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.get(key).map(|(entry, _)| entry)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(|key| &**key)
    }

    /// Adds a write. Calls `displaced` with each entry that leaves for it.
    pub(super) fn put(&mut self, key: &str, entry: Entry, mut displaced: impl FnMut(&str, Entry)) {
        self.remove(key);
        self.writes += 1;
        let key: Arc<str> = key.into();
        self.bytes += weight(&key, &entry.value);
        self.order.push_back((Arc::clone(&key), self.writes));
        self.entries.insert(key, (entry, self.writes));
        while self.bytes > self.max_bytes
            && let Some((oldest, write)) = self.order.pop_front()
        {
            if let Some(entry) = self.take(&oldest, write) {
                displaced(&oldest, entry);
            }
        }
        self.compact();
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Entry> {
        let write = self.entries.get(key)?.1;
        self.take(key, write)
    }

    /// Removes the entry of `key` if it is of this write.
    fn take(&mut self, key: &str, write: u64) -> Option<Entry> {
        if self.entries.get(key)?.1 != write {
            return None;
        }
        let (key, (entry, _)) = self.entries.remove_entry(key)?;
        self.bytes -= weight(&key, &entry.value);
        Some(entry)
    }

    /// Removes old places once they outnumber the entries: writing one key again and again takes no more memory.
    fn compact(&mut self) {
        if self.order.len() > 2 * self.entries.len() + 16 {
            self.order
                .retain(|(key, write)| self.entries.get(key).is_some_and(|(_, latest)| latest == write));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn entry(version: u64, bytes: usize) -> Entry {
        Entry { version, value: Bytes::from(vec![0; bytes]) }
    }

    #[test]
    fn the_oldest_write_leaves_first() {
        let mut recent = RecentWrites::new(3 * weight("a", &Bytes::from_static(&[0; 100])));
        let mut displaced = Vec::new();
        for (version, key) in ["a", "b", "a", "c", "d"].into_iter().enumerate() {
            recent.put(key, entry(version as u64, 100), |key, entry| {
                displaced.push((key.to_owned(), entry.version));
            });
        }
        assert_eq!(displaced, [("b".to_owned(), 1)], "a was written again after b");
        assert_eq!(recent.get("a").map(|entry| entry.version), Some(2));
    }

    #[test]
    fn rewriting_one_key_does_not_grow() {
        let mut recent = RecentWrites::new(1 << 20);
        for version in 0..10_000 {
            recent.put("k", entry(version, 1), |_, _| {});
        }
        assert!(recent.order.len() < 32, "{}", recent.order.len());
        assert_eq!(recent.bytes, weight("k", &Bytes::from_static(&[0])));
        recent.remove("k");
        assert_eq!((recent.bytes, recent.get("k")), (0, None));
    }
}
