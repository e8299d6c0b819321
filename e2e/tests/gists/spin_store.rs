//! A key-value store that behaves as Spin's default store and records its operations.
//!
//! Spin 4.1 with its SQLite store: `get-many` leaves out missing keys and returns keys in any order; if several writers swap an absent
//! key, each swap succeeds; a counter reads back as eight bytes; an increment of another value fails; each write is a transaction.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use wasi_http_host::keyvalue::{Answer, Error, KeyPage, Snapshot, Store, Swap};

/// A write to the store.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) key: String,
    pub(crate) at: Instant,
}

/// The recorded operations.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) reads: usize,
    pub(crate) writes: Vec<Write>,
}

/// The store. Clones share their content.
#[derive(Clone, Default)]
pub(crate) struct SpinStore(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    values: HashMap<String, Bytes>,
    ledger: Ledger,
}

impl SpinStore {
    /// Takes the operations since the last call.
    pub(crate) fn take_ledger(&self) -> Ledger {
        std::mem::take(&mut self.lock().ledger)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn read(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.ledger.reads += 1;
        state
    }

    fn write(&self, key: &str) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        state.ledger.writes.push(Write { key: key.to_owned(), at: Instant::now() });
        state
    }
}

impl Store for SpinStore {
    fn get(&self, key: &str) -> Answer<Option<Bytes>> {
        Answer::Ready(Ok(self.read().values.get(key).cloned()))
    }

    fn set(&self, key: &str, value: Bytes) -> Answer<()> {
        self.write(key).values.insert(key.to_owned(), value);
        Answer::Ready(Ok(()))
    }

    fn delete(&self, key: &str) -> Answer<()> {
        self.write(key).values.remove(key);
        Answer::Ready(Ok(()))
    }

    fn list_keys(&self, _cursor: Option<&str>) -> Answer<KeyPage> {
        // Spin's Redis store runs `KEYS *` for this, so the component must not call it.
        Error::Other("the component must not call list-keys".to_owned()).into()
    }

    fn increment(&self, key: &str, delta: i64) -> Answer<i64> {
        let mut state = self.write(key);
        let present = match state.values.get(key) {
            None => 0,
            Some(value) => match <[u8; 8]>::try_from(&value[..]) {
                Ok(bytes) => i64::from_le_bytes(bytes),
                // Spin's host may panic in this case.
                Err(_) => return Error::Other(format!("increment of {key}, which is no counter")).into(),
            },
        };
        let sum = present + delta;
        state.values.insert(key.to_owned(), Bytes::copy_from_slice(&sum.to_le_bytes()));
        Answer::Ready(Ok(sum))
    }

    fn snapshot(&self, key: &str) -> Answer<Snapshot> {
        Answer::Ready(Ok(Snapshot { version: 0, value: self.read().values.get(key).cloned() }))
    }

    fn swap(&self, key: &str, seen: &Snapshot, value: Bytes) -> Answer<Swap> {
        let mut state = self.write(key);
        let present = state.values.get(key).cloned();
        if seen.value.is_some() && seen.value != present {
            return Answer::Ready(Ok(Swap::Stale(Snapshot { version: 0, value: present })));
        }
        state.values.insert(key.to_owned(), value);
        Answer::Ready(Ok(Swap::Done))
    }

    fn get_many(&self, keys: Vec<String>) -> Answer<Vec<(String, Option<Bytes>)>> {
        let state = self.read();
        let found = keys.into_iter().rev().filter_map(|key| {
            let value = state.values.get(&key).cloned()?;
            Some((key, Some(value)))
        });
        Answer::Ready(Ok(found.collect()))
    }
}
