use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// A value and the version that its writer gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) version: u64,
    pub(super) value: Bytes,
}

/// The latest writes, oldest out first: what has just been written stays readable until this many bytes have been
/// written after it, whatever the main cache's admission thinks of it.
#[derive(Debug, Default)]
pub(super) struct Window {
    entries: HashMap<Arc<str>, (Entry, u64)>,
    /// Write order; a key that was written again or removed leaves its old place behind.
    order: VecDeque<(Arc<str>, u64)>,
    writes: u64,
    bytes: u64,
    max_bytes: u64,
}

impl Window {
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

    /// Remembers a write; `displaced` gets what has to go for it, at most a window's worth.
    pub(super) fn put(&mut self, key: &str, entry: Entry, mut displaced: impl FnMut(&str, Entry)) {
        self.remove(key);
        self.writes += 1;
        let key: Arc<str> = key.into();
        self.bytes += super::memory::weight(&key, &entry.value);
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

    /// Takes the entry of exactly this write out.
    fn take(&mut self, key: &str, write: u64) -> Option<Entry> {
        if self.entries.get(key)?.1 != write {
            return None;
        }
        let (key, (entry, _)) = self.entries.remove_entry(key)?;
        self.bytes -= super::memory::weight(&key, &entry.value);
        Some(entry)
    }

    /// Forgets left-behind places once they outnumber the entries, so that rewriting one key costs no memory.
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

    fn entry(version: u64, bytes: usize) -> Entry {
        Entry { version, value: Bytes::from(vec![0; bytes]) }
    }

    #[test]
    fn the_oldest_write_leaves_first() {
        let mut window = Window::new(3 * super::super::memory::weight("a", &Bytes::from_static(&[0; 100])));
        let mut displaced = Vec::new();
        for (version, key) in ["a", "b", "a", "c", "d"].into_iter().enumerate() {
            window.put(key, entry(version as u64, 100), |key, entry| {
                displaced.push((key.to_owned(), entry.version));
            });
        }
        assert_eq!(displaced, [("b".to_owned(), 1)], "a was written again after b");
        assert_eq!(window.get("a").map(|entry| entry.version), Some(2));
    }

    #[test]
    fn rewriting_one_key_does_not_grow() {
        let mut window = Window::new(1 << 20);
        for version in 0..10_000 {
            window.put("k", entry(version, 1), |_, _| {});
        }
        assert!(window.order.len() < 32, "{}", window.order.len());
        assert_eq!(window.bytes, super::super::memory::weight("k", &Bytes::from_static(&[0])));
        window.remove("k");
        assert_eq!((window.bytes, window.get("k")), (0, None));
    }
}
