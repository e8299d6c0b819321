use super::{Error, KeyPage, RemoteStore, Snapshot, Store, Swap};
use bytes::Bytes;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What is behind a bucket: a store that answers at once, or one that has to be waited for.
#[derive(Clone)]
pub enum Backend {
    /// Answers at once.
    Local(Arc<dyn Store>),
    /// Has to be waited for.
    Remote(Arc<dyn RemoteStore>),
}

impl Backend {
    /// The same store for instances on the thread of `runtime`.
    #[must_use]
    pub fn on(&self, runtime: &Handle) -> Self {
        match self {
            Self::Local(store) => Self::Local(store.clone()),
            Self::Remote(store) => Self::Remote(store.on(runtime)),
        }
    }

    /// The store, where calls of it may not wait.
    #[must_use]
    pub fn local(&self) -> Option<&dyn Store> {
        match self {
            Self::Local(store) => Some(&**store),
            Self::Remote(_) => None,
        }
    }

    /// An answer that needs no waiting; `None`: ask.
    #[must_use]
    pub fn known(&self, key: &str) -> Option<Result<Option<Bytes>, Error>> {
        match self {
            Self::Local(store) => Some(store.get(key)),
            Self::Remote(store) => store.known(key).map(Ok),
        }
    }

    /// The same for many keys, of a remote store.
    #[must_use]
    pub fn known_many(&self, keys: &[String]) -> Option<Vec<(String, Option<Bytes>)>> {
        match self {
            Self::Local(_) => None,
            Self::Remote(store) => store.known_many(keys),
        }
    }

    /// As [`Store::get`].
    ///
    /// # Errors
    /// As there.
    pub async fn get(&self, key: &str) -> Result<Option<Bytes>, Error> {
        match self {
            Self::Local(store) => store.get(key),
            Self::Remote(store) => store.get(key).await,
        }
    }

    /// As [`Store::set`].
    ///
    /// # Errors
    /// As there.
    pub async fn set(&self, key: &str, value: Bytes) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.set(key, value),
            Self::Remote(store) => store.set(key, value).await,
        }
    }

    /// As [`Store::delete`].
    ///
    /// # Errors
    /// As there.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.delete(key),
            Self::Remote(store) => store.delete(key).await,
        }
    }

    /// As [`Store::exists`].
    ///
    /// # Errors
    /// As there.
    pub async fn exists(&self, key: &str) -> Result<bool, Error> {
        match self {
            Self::Local(store) => store.exists(key),
            Self::Remote(store) => store.exists(key).await,
        }
    }

    /// As [`Store::list_keys`].
    ///
    /// # Errors
    /// As there.
    pub async fn list_keys(&self, cursor: Option<&str>) -> Result<KeyPage, Error> {
        match self {
            Self::Local(store) => store.list_keys(cursor),
            Self::Remote(store) => store.list_keys(cursor).await,
        }
    }

    /// As [`Store::increment`].
    ///
    /// # Errors
    /// As there.
    pub async fn increment(&self, key: &str, delta: i64) -> Result<i64, Error> {
        match self {
            Self::Local(store) => store.increment(key, delta),
            Self::Remote(store) => store.increment(key, delta).await,
        }
    }

    /// As [`Store::snapshot`].
    ///
    /// # Errors
    /// As there.
    pub async fn snapshot(&self, key: &str) -> Result<Snapshot, Error> {
        match self {
            Self::Local(store) => store.snapshot(key),
            Self::Remote(store) => store.snapshot(key).await,
        }
    }

    /// As [`Store::swap`].
    ///
    /// # Errors
    /// As there.
    pub async fn swap(&self, key: &str, seen: &Snapshot, value: Bytes) -> Result<Swap, Error> {
        match self {
            Self::Local(store) => store.swap(key, seen, value),
            Self::Remote(store) => store.swap(key, seen, value).await,
        }
    }

    /// As [`Store::get_many`].
    ///
    /// # Errors
    /// As there.
    pub async fn get_many(&self, keys: Vec<String>) -> Result<Vec<(String, Option<Bytes>)>, Error> {
        match self {
            Self::Local(store) => store.get_many(keys),
            Self::Remote(store) => store.get_many(keys).await,
        }
    }

    /// As [`Store::set_many`].
    ///
    /// # Errors
    /// As there.
    pub async fn set_many(&self, pairs: Vec<(String, Bytes)>) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.set_many(pairs),
            Self::Remote(store) => store.set_many(pairs).await,
        }
    }

    /// As [`Store::delete_many`].
    ///
    /// # Errors
    /// As there.
    pub async fn delete_many(&self, keys: Vec<String>) -> Result<(), Error> {
        match self {
            Self::Local(store) => store.delete_many(keys),
            Self::Remote(store) => store.delete_many(keys).await,
        }
    }
}
