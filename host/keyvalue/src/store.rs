use super::Error;
use bytes::Bytes;

/// One named key-value store that answers at once. Shared by all instances on all threads.
///
/// Key and value sizes have been checked against [`MAX_KEY_BYTES`](super::MAX_KEY_BYTES) and
/// [`MAX_VALUE_BYTES`](super::MAX_VALUE_BYTES) before a method is called; a store may be stricter.
/// Whatever is documented in `wasi:keyvalue` holds; what is said here is in addition to it.
pub trait Store: Send + Sync + 'static {
    /// The value of `key`, or `None`. A counter reads as decimal text.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn get(&self, key: &str) -> Result<Option<Bytes>, Error>;

    /// Stores `value`, whatever `key` held before.
    ///
    /// # Errors
    /// When the value is too large for this store, or the store fails.
    fn set(&self, key: &str, value: Bytes) -> Result<(), Error>;

    /// Removes `key`; removing what is not there succeeds.
    ///
    /// # Errors
    /// When the store fails.
    fn delete(&self, key: &str) -> Result<(), Error>;

    /// Whether `key` has a value.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn exists(&self, key: &str) -> Result<bool, Error> {
        self.get(key).map(|value| value.is_some())
    }

    /// One page of keys after `cursor`, which is what the page before returned.
    ///
    /// # Errors
    /// When the store fails or does not know the cursor.
    fn list_keys(&self, cursor: Option<&str>) -> Result<KeyPage, Error>;

    /// Adds `delta` to the counter `key` in one step, from 0 if it is absent, and returns the sum.
    ///
    /// # Errors
    /// When the key holds something that is no integer, the sum leaves the 64-bit range, or the store fails.
    fn increment(&self, key: &str, delta: i64) -> Result<i64, Error>;

    /// Begins a compare-and-swap: the present state of `key`.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn snapshot(&self, key: &str) -> Result<Snapshot, Error>;

    /// Ends a compare-and-swap: stores `value` if `key` is still as it was in `seen`, in one step.
    ///
    /// # Errors
    /// When the value is too large for this store, or the store fails; a lost race is [`Swap::Stale`].
    fn swap(&self, key: &str, seen: &Snapshot, value: Bytes) -> Result<Swap, Error>;

    /// The values of `keys`. Callers match by key: a store may change the order and leave out what is missing.
    ///
    /// # Errors
    /// As [`Store::get`], for the first key that fails.
    fn get_many(&self, keys: Vec<String>) -> Result<Vec<(String, Option<Bytes>)>, Error> {
        keys.into_iter().map(|key| self.get(&key).map(|value| (key, value))).collect()
    }

    /// Stores all pairs, without atomicity across them.
    ///
    /// # Errors
    /// As [`Store::set`], for the first pair that fails; those before it stay.
    fn set_many(&self, pairs: Vec<(String, Bytes)>) -> Result<(), Error> {
        pairs.into_iter().try_for_each(|(key, value)| self.set(&key, value))
    }

    /// Removes all keys, without atomicity across them.
    ///
    /// # Errors
    /// As [`Store::delete`], for the first key that fails; those before it are gone.
    fn delete_many(&self, keys: Vec<String>) -> Result<(), Error> {
        keys.into_iter().try_for_each(|key| self.delete(&key))
    }
}

/// The state of one key at one moment, by which a swap tells whether it changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The store's own mark of this state; a store that compares by value leaves it 0.
    pub version: u64,
    /// The value then.
    pub value: Option<Bytes>,
}

/// How a swap ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The value is stored.
    Done,
    /// Another writer was first; nothing was stored. Carries the state that won.
    Stale(Snapshot),
}

/// One answer to `list-keys`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// Keys, in no promised order.
    pub keys: Vec<String>,
    /// Pass it on for the next page; `None` says that this was the last.
    pub cursor: Option<String>,
}
