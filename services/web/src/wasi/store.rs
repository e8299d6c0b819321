//! [`Store`] on `wasi:keyvalue`.

use std::collections::BTreeMap;

use super::bindings::wasi::keyvalue::{atomics, batch, store};
use crate::store::{Store, StoreError};

/// An open bucket of the host's.
pub(super) struct Bucket(store::Bucket);

/// Opens the store `name`.
pub(super) fn open(name: &str) -> Result<Bucket, StoreError> {
    Ok(Bucket(store::open(name)?))
}

impl Store for Bucket {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(key)?)
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        // The interface promises no order, and hosts may leave out absent keys.
        let mut found: BTreeMap<_, _> = batch::get_many(&self.0, keys)?.into_iter().collect();
        Ok(keys.iter().map(|key| found.remove(key).flatten()).collect())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        Ok(self.0.set(key, value)?)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        Ok(self.0.delete(key)?)
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.0.list_keys(cursor.as_deref())?;
            found.extend(page.keys.into_iter().filter(|key| key.starts_with(prefix)));
            cursor = page.cursor;
            if cursor.is_none() || found.len() >= limit {
                found.truncate(limit);
                return Ok(found);
            }
        }
    }

    fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        Ok(atomics::increment(&self.0, key, delta)?)
    }

    fn compare_and_swap(&self, key: &str, current: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        let cas = atomics::Cas::new(&self.0, key)?;
        if cas.current()?.as_deref() != current {
            return Ok(false);
        }
        match atomics::swap(cas, new) {
            Ok(()) => Ok(true),
            Err(atomics::CasError::CasFailed(_)) => Ok(false),
            Err(atomics::CasError::StoreError(error)) => Err(error.into()),
        }
    }
}

impl From<store::Error> for StoreError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::NoSuchStore => Self::NoSuchStore,
            store::Error::AccessDenied => Self::AccessDenied,
            store::Error::Other(reason) => Self::Other(reason),
        }
    }
}
