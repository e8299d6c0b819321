//! The one interface of all stores.

use std::{
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
};

use bytes::Bytes;
use futures::future::Either;
use tokio::runtime::Handle;

use super::{error::Error, metrics::Samples};

/// Most keys in one answer to `list-keys`. A store in another process may return more or fewer.
pub const PAGE_KEYS: usize = 1000;

/// What a store answers.
pub enum Answer<R> {
    /// The store knew it without waiting.
    Ready(Result<R, Error>),
    /// The store has to ask another process. The whole instance that called waits for this future.
    Pending(AnswerFuture<R>),
}

/// An answer that takes time. It borrows neither the store nor the arguments, because those lie in the memory of an instance.
pub type AnswerFuture<R> = Pin<Box<dyn Future<Output = Result<R, Error>> + Send>>;

impl<R> Answer<R> {
    /// The answer that `future` will give.
    pub fn pending(future: impl Future<Output = Result<R, Error>> + Send + 'static) -> Self {
        Self::Pending(Box::pin(future))
    }

    /// The answer with `change` applied to the value. An answer that takes time costs one more allocation.
    #[must_use]
    pub fn map<S>(self, change: impl FnOnce(R) -> S + Send + 'static) -> Answer<S>
    where
        R: 'static,
    {
        match self {
            Self::Ready(result) => Answer::Ready(result.map(change)),
            Self::Pending(future) => Answer::pending(async { future.await.map(change) }),
        }
    }
}

impl<R: Send + 'static> Answer<R> {
    /// All of these answers, asked for one after the other up to the first that fails.
    fn all(mut answers: impl Iterator<Item = Self>) -> Answer<Vec<R>> {
        let mut values = Vec::with_capacity(answers.size_hint().0);
        while let Some(answer) = answers.next() {
            match answer {
                Self::Ready(Ok(value)) => values.push(value),
                Self::Ready(Err(error)) => return Answer::Ready(Err(error)),
                Self::Pending(future) => {
                    let rest: Vec<Self> = answers.collect();
                    return Answer::pending(async {
                        values.push(future.await?);
                        for answer in rest {
                            values.push(answer.await?);
                        }
                        Ok(values)
                    });
                }
            }
        }
        Answer::Ready(Ok(values))
    }
}

impl<R> From<Result<R, Error>> for Answer<R> {
    fn from(result: Result<R, Error>) -> Self {
        Self::Ready(result)
    }
}

impl<R> From<Error> for Answer<R> {
    fn from(error: Error) -> Self {
        Self::Ready(Err(error))
    }
}

impl<R> IntoFuture for Answer<R> {
    type Output = Result<R, Error>;
    type IntoFuture = Either<Ready<Self::Output>, AnswerFuture<R>>;

    fn into_future(self) -> Self::IntoFuture {
        match self {
            Self::Ready(result) => Either::Left(ready(result)),
            Self::Pending(future) => Either::Right(future),
        }
    }
}

/// One named key-value store. All instances on all threads share it.
///
/// The host checks the sizes of keys and values against [`MAX_KEY_BYTES`](super::MAX_KEY_BYTES) and
/// [`MAX_VALUE_BYTES`](super::MAX_VALUE_BYTES) before it calls an operation. A store may be stricter. Each operation does what
/// `wasi:keyvalue` documents; the comments here say what a store guarantees beyond that.
///
/// An operation answers [`Answer::Ready`] whenever it can: the instance then loses no time. A store that answers
/// [`Answer::Pending`] limits how long each answer takes, because the calling instance waits.
pub trait Store: Send + Sync + 'static {
    /// Whether each answer is [`Answer::Ready`]. A component whose stores are all local is linked with synchronous functions, which
    /// cost no fiber. A local store that answers later traps the instance.
    fn is_local(&self) -> bool {
        true
    }

    /// The store for instances on the thread of `runtime`, where each thread has connections of its own. `None`: all threads
    /// share this one.
    fn on(&self, _runtime: &Handle) -> Option<Arc<dyn Store>> {
        None
    }

    /// The value of `key`, or `None`. A counter reads as decimal text.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn get(&self, key: &str) -> Answer<Option<Bytes>>;

    /// Stores `value`, whatever `key` held before.
    ///
    /// # Errors
    /// When the value is too large for this store, or the store fails.
    fn set(&self, key: &str, value: Bytes) -> Answer<()>;

    /// Removes `key`. Succeeds, too, if `key` has no value.
    ///
    /// # Errors
    /// When the store fails.
    fn delete(&self, key: &str) -> Answer<()>;

    /// Whether `key` has a value.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn exists(&self, key: &str) -> Answer<bool> {
        self.get(key).map(|value| value.is_some())
    }

    /// One page of keys after `cursor`, which is what the page before returned.
    ///
    /// # Errors
    /// When the store fails or does not know the cursor.
    fn list_keys(&self, cursor: Option<&str>) -> Answer<KeyPage>;

    /// As [`Store::list_keys`], for the keys that begin with `prefix`. The page has them without the prefix. A page may be empty
    /// although another one follows.
    ///
    /// # Errors
    /// As [`Store::list_keys`].
    fn list_keys_of(&self, prefix: &str, cursor: Option<&str>) -> Answer<KeyPage> {
        let prefix = prefix.to_owned();
        self.list_keys(cursor).map(move |page| {
            let own = page.keys.iter().filter_map(|key| key.strip_prefix(&*prefix)).map(str::to_owned);
            KeyPage { keys: own.collect(), cursor: page.cursor }
        })
    }

    /// Adds `delta` to the counter `key` in one step, from 0 if it is absent, and returns the sum.
    ///
    /// # Errors
    /// When the key holds something that is no integer, the sum leaves the 64-bit range, or the store fails.
    fn increment(&self, key: &str, delta: i64) -> Answer<i64>;

    /// Begins a compare-and-swap: the present state of `key`.
    ///
    /// # Errors
    /// When the store cannot tell.
    fn snapshot(&self, key: &str) -> Answer<Snapshot>;

    /// Ends a compare-and-swap: stores `value` if `key` is still as it was in `seen`, in one step.
    ///
    /// # Errors
    /// When the value is too large for this store, or the store fails. A lost race is [`Swap::Stale`].
    fn swap(&self, key: &str, seen: &Snapshot, value: Bytes) -> Answer<Swap>;

    /// The values of `keys`. Callers match by key: a store may change the order and leave out what is missing.
    ///
    /// # Errors
    /// As [`Store::get`], for the first key that fails.
    fn get_many(&self, keys: Vec<String>) -> Answer<Vec<(String, Option<Bytes>)>> {
        Answer::all(keys.into_iter().map(|key| self.get(&key).map(|value| (key, value))))
    }

    /// Stores all pairs, without atomicity across them.
    ///
    /// # Errors
    /// As [`Store::set`], for the first pair that fails; the pairs before it stay.
    fn set_many(&self, pairs: Vec<(String, Bytes)>) -> Answer<()> {
        Answer::all(pairs.into_iter().map(|(key, value)| self.set(&key, value))).map(drop)
    }

    /// Removes all keys, without atomicity across them.
    ///
    /// # Errors
    /// As [`Store::delete`], for the first key that fails; the keys before it are gone.
    fn delete_many(&self, keys: Vec<String>) -> Answer<()> {
        Answer::all(keys.into_iter().map(|key| self.delete(&key))).map(drop)
    }

    /// What traces call the database behind this store (`db.system.name`, OpenTelemetry's semantic conventions); `None`: the
    /// store is part of this process.
    fn system(&self) -> Option<&'static str> {
        None
    }

    /// Adds the store's own metrics to `samples`. `name` is what components call it.
    fn measure(&self, _name: &str, _samples: &mut Samples) {}

    /// The host stops: the store writes what must outlive the process. May block for as long as that takes.
    fn close(&self) {}
}

/// The state of one key at one moment. A swap compares it with the state that it finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The store's own mark of this state; 0 from a store that compares values.
    pub version: u64,
    /// The value at that moment.
    pub value: Option<Bytes>,
}

/// How a swap ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The value is stored.
    Done,
    /// Another writer was first, and nothing was stored. Carries the state that won.
    Stale(Snapshot),
}

/// One answer to `list-keys`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPage {
    /// Keys, in no promised order.
    pub keys: Vec<String>,
    /// Where the next page begins; `None` after the last.
    pub cursor: Option<String>,
}
