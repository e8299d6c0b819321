//! Key-value stores.

use std::fmt;

use crate::problem::Problem;

/// An open key-value store.
pub trait Store: Send + Sync {
    /// The value of `key`.
    ///
    /// # Errors
    /// The store does not answer.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// The values of `keys`, in their order, read at once.
    ///
    /// # Errors
    /// The store does not answer.
    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;
    /// Sets `key` to `value`.
    ///
    /// # Errors
    /// The store does not answer.
    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError>;
    /// Removes `key`. An absent key is no error.
    ///
    /// # Errors
    /// The store does not answer.
    fn delete(&self, key: &str) -> Result<(), StoreError>;
    /// The keys that begin with `prefix`, `limit` at most, in no order. The store walks all of its keys: use it rarely.
    ///
    /// # Errors
    /// The store does not answer.
    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError>;
    /// Adds `delta` to the number at `key` at once, and returns the sum. An absent key counts as 0.
    ///
    /// # Errors
    /// The store does not answer, or the value is no number.
    fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError>;
    /// Sets `key` to `new` at once if its value is `current` (`None`: absent). Returns whether it was.
    ///
    /// # Errors
    /// The store does not answer.
    fn compare_and_swap(&self, key: &str, current: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError>;
}

/// Sets `key` to what `change` makes of its value, and does so again while others change it in between.
/// `change` returns `Err` to leave the key as it is.
///
/// # Errors
/// [`StoreError::Contended`] after `attempts` vain attempts; what the store or `change` returns.
pub fn replace_with<E: From<StoreError>>(
    store: &dyn Store,
    key: &str,
    attempts: u32,
    mut change: impl FnMut(Option<&[u8]>) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    for _ in 0..attempts {
        let current = store.get(key)?;
        let new = change(current.as_deref())?;
        if store.compare_and_swap(key, current.as_deref(), &new)? {
            return Ok(());
        }
    }
    Err(StoreError::Contended.into())
}

/// Why an operation on a store failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The system has no store of that name.
    NoSuchStore,
    /// The system does not grant that store to this service.
    AccessDenied,
    /// Others changed the key each time.
    Contended,
    /// Another error, in the store's own words.
    Other(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchStore => f.write_str("there is no such store"),
            Self::AccessDenied => f.write_str("access to the store is denied"),
            Self::Contended => f.write_str("others change the same key"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        Self::unavailable(format!("the store does not answer: {error}"))
    }
}
