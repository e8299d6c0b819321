//! What the service needs from outside, as small traits: WASI implements them once (`wasi`), the tests fake them.
//!
//! Everything is dispatched statically, and nothing is `Send`: an instance of the component is one thread.

use std::future::Future;
use std::time::Duration;

/// A key-value store. Reads see the same client's writes; `increment` is atomic, nothing else is.
pub trait Store {
    /// The value under `key`, `None` where there is none.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>>;
    /// Writes `value` under `key`, whatever was there.
    fn set(&self, key: &str, value: &[u8]) -> impl Future<Output = Result<(), StoreError>>;
    /// Removes `key`; an absent key is no error.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), StoreError>>;
    /// Adds `delta` to the counter under `key` (absent counts as 0) and returns the sum. How the sum is stored is
    /// the store's affair, so a counter is read by `increment(key, 0)`; on some stores even that commits a write.
    fn increment(&self, key: &str, delta: i64) -> impl Future<Output = Result<i64, StoreError>>;
    /// The values of those `keys` that exist, in any order: a store may leave out missing keys.
    fn get_many(&self, keys: &[String]) -> impl Future<Output = Result<Pairs, StoreError>>;
}

/// Keys with their values.
pub type Pairs = Vec<(String, Option<Vec<u8>>)>;

/// The stores that the host grants, by name.
pub trait Stores {
    /// One of them.
    type Store: Store;
    /// Opens the store called `name`.
    fn open(&self, name: &str) -> Result<Self::Store, StoreError>;
}

/// Why a store did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The host knows no store of that name.
    NoSuchStore,
    /// The host does not grant that store.
    AccessDenied,
    /// The store's own words.
    Other(String),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchStore => f.write_str("there is no such store"),
            Self::AccessDenied => f.write_str("access to the store is denied"),
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

/// One `GET`, without time limit: the caller drops the future when it has waited enough.
pub trait Fetch {
    /// Sends `call` and reads the answer; a body over `max_body` bytes is [`FetchError::BodyTooLarge`].
    fn fetch(&self, call: &Call<'_>, max_body: usize) -> impl Future<Output = Result<Fetched, FetchError>>;
}

/// Where to send a `GET`, and with which headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'a> {
    /// Whether TLS is spoken.
    pub https: bool,
    /// `host` or `host:port`.
    pub authority: &'a str,
    /// The path with its query, percent-encoded.
    pub path: &'a str,
    /// Names in lower case, values as sent.
    pub headers: &'a [(&'static str, String)],
}

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetched {
    /// The status code.
    pub status: u16,
    /// Names in lower case, values as received.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// A time limit of the host's ended the call.
    Timeout,
    /// No connection: refused, name not found, TLS, forbidden by the host's policy.
    Connect(String),
    /// The answer broke off or was no HTTP.
    Protocol(String),
    /// The body is larger than allowed.
    BodyTooLarge,
}

/// Both clocks. Age and freshness go by the system clock, since they are compared across processes; durations and
/// time limits by the monotonic one.
pub trait Clock {
    /// Time since some fixed moment, never going back.
    fn monotonic(&self) -> Duration;
    /// Time since the Unix epoch.
    fn system(&self) -> Duration {
        self.system_at(self.monotonic())
    }
    /// Time since the Unix epoch at a monotonic moment that has just been: reading a clock is a call to the host.
    fn system_at(&self, moment: Duration) -> Duration;
    /// Completes after `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static;
}

/// Unpredictable numbers: generation tokens, revisions, jitter.
pub trait Random {
    /// A number that nobody can foresee.
    fn random(&self) -> u64;
}

/// Where settings come from.
pub trait Configuration {
    /// The setting `name`, `None` where nobody set it; the error is the source's own words.
    fn setting(&self, name: &str) -> Result<Option<String>, String>;
}

/// Tasks that outlive the request that started them.
pub trait Spawn {
    /// Runs `task` to its end, also after the response has gone out.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}

/// Wakes one request from another's task. A waker of Rust's own does not cross from one component-model task to
/// another, so a platform says how it is done.
pub trait Bells {
    /// Rings when it is dropped.
    type Bell: 'static;
    /// Completes once the bell has rung.
    type Ring: Future<Output = ()> + 'static;
    /// A bell and its ring.
    fn bell(&self) -> (Self::Bell, Self::Ring);
}

/// How bad a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing.
    Info,
    /// Something to look at, handled for now.
    Warn,
    /// Somebody has to act.
    Error,
}

/// Log lines.
pub trait Log {
    /// Writes one line, complete as it is.
    fn log(&self, line: &str);
}

/// All of it together: what a service runs on.
pub trait Platform: Stores + Fetch + Clock + Random + Configuration + Spawn + Bells + Log + 'static {}

impl<T> Platform for T where T: Stores + Fetch + Clock + Random + Configuration + Spawn + Bells + Log + 'static
{}
