//! [`Store`] on `wasi:keyvalue`.

use super::bindings::wasi::keyvalue::{atomics, batch, store};
use super::platform::Wasi;
use crate::ports::{Pairs, Store, StoreError, Stores};

/// An open bucket of the host's.
pub(super) struct Bucket(store::Bucket);

impl Stores for Wasi {
    type Store = Bucket;

    fn open(&self, name: &str) -> Result<Bucket, StoreError> {
        Ok(Bucket(store::open(name)?))
    }
}

impl Store for Bucket {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(key)?)
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        Ok(self.0.set(key, value)?)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        Ok(self.0.delete(key)?)
    }

    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        Ok(atomics::increment(&self.0, key, delta)?)
    }

    async fn replace(&self, key: &str, current: &[u8], new: &[u8]) -> Result<bool, StoreError> {
        let cas = atomics::Cas::new(&self.0, key)?;
        if cas.current()?.as_deref() != Some(current) {
            return Ok(false);
        }
        match atomics::swap(cas, new) {
            Ok(()) => Ok(true),
            Err(atomics::CasError::CasFailed(_)) => Ok(false),
            Err(atomics::CasError::StoreError(error)) => Err(error.into()),
        }
    }

    async fn get_many(&self, keys: &[String]) -> Result<Pairs, StoreError> {
        Ok(batch::get_many(&self.0, keys)?)
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
