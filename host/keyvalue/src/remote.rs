use super::{Error, KeyPage, Snapshot, Swap};
use bytes::Bytes;
use std::pin::Pin;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A store's answer, some time.
pub type Answer<'a, R> = Pin<Box<dyn Future<Output = Result<R, Error>> + Send + 'a>>;

/// One named key-value store that has to wait for another process.
///
/// Its functions mean what those of [`Store`](super::Store) of the same name do, and fail when they do. Whoever
/// implements it limits how long each takes: the calling instance stands still meanwhile.
pub trait RemoteStore: Send + Sync + 'static {
    /// The same store with connections that live on `runtime`, the thread of the instances that will call it.
    fn on(&self, runtime: &Handle) -> Arc<dyn RemoteStore>;

    /// The value of `key` where it is known without asking anybody; `None`: ask.
    fn known(&self, _key: &str) -> Option<Option<Bytes>> {
        None
    }

    /// The values of `keys` where all are known without asking anybody.
    fn known_many(&self, _keys: &[String]) -> Option<Vec<(String, Option<Bytes>)>> {
        None
    }

    /// The value of `key`.
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>>;

    /// Stores `value`.
    fn set<'a>(&'a self, key: &'a str, value: Bytes) -> Answer<'a, ()>;

    /// Removes `key`.
    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;

    /// Whether `key` has a value.
    fn exists<'a>(&'a self, key: &'a str) -> Answer<'a, bool>;

    /// One page of keys.
    fn list_keys<'a>(&'a self, cursor: Option<&'a str>) -> Answer<'a, KeyPage>;

    /// Adds to a counter in one step.
    fn increment<'a>(&'a self, key: &'a str, delta: i64) -> Answer<'a, i64>;

    /// Begins a compare-and-swap.
    fn snapshot<'a>(&'a self, key: &'a str) -> Answer<'a, Snapshot>;

    /// Ends one.
    fn swap<'a>(&'a self, key: &'a str, seen: &'a Snapshot, value: Bytes) -> Answer<'a, Swap>;

    /// The values of `keys`.
    fn get_many(&self, keys: Vec<String>) -> Answer<'_, Vec<(String, Option<Bytes>)>>;

    /// Stores all pairs.
    fn set_many(&self, pairs: Vec<(String, Bytes)>) -> Answer<'_, ()>;

    /// Removes all keys.
    fn delete_many(&self, keys: Vec<String>) -> Answer<'_, ()>;
}
