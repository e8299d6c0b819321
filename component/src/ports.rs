//! The interfaces that the service needs from its platform. Module `wasi` implements them for WASI; the tests
//! implement them with fakes.
//!
//! All calls are dispatched statically. No future is `Send`: a component instance runs on one thread.

use std::future::Future;
use std::time::Duration;

/// An incoming request. Its parts are read on demand, because each read is a call to the host. There is no method
/// for the body: no route uses one.
pub trait Request {
    /// The method's name, case-sensitive (RFC 9110, 9.1).
    fn method(&self) -> &str;
    /// The target in origin form: path and query, percent-encoded (RFC 9112, 3.2.1).
    fn target(&self) -> &str;
    /// The values of all fields called `name` (in lower case), in their order; empty if there is none.
    fn header(&self, name: &str) -> Vec<Vec<u8>>;
}

/// A key-value store (`wasi:keyvalue`). A client's reads see its own earlier writes. Only `increment` and `replace` are
/// atomic. A store may remove any key at any moment, for want of room or because nobody has written it for long.
pub trait Store {
    /// The value under `key`; `None` if the key does not exist.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>>;
    /// Writes `value` under `key`, and replaces an earlier value.
    fn set(&self, key: &str, value: &[u8]) -> impl Future<Output = Result<(), StoreError>>;
    /// Removes `key`. Removing a key that does not exist succeeds.
    fn delete(&self, key: &str) -> impl Future<Output = Result<(), StoreError>>;
    /// Adds `delta` to the counter under `key` (a missing counter is 0) and returns the sum. Each store encodes
    /// counters in its own way, so the service reads a counter with `increment(key, 0)`. On some stores even that
    /// commits a write.
    fn increment(&self, key: &str, delta: i64) -> impl Future<Output = Result<i64, StoreError>>;
    /// Writes `new` under `key` if its value is still `current`, and returns whether it was. A store with a time to live
    /// then keeps the key as after a `set`, also if `new` equals `current`. `key` must have a value: on some stores, a
    /// compare-and-swap of a key without one succeeds for everybody.
    fn replace(
        &self,
        key: &str,
        current: &[u8],
        new: &[u8],
    ) -> impl Future<Output = Result<bool, StoreError>>;
    /// The values of `keys`, in any order. A store may leave out the keys that do not exist.
    fn get_many(&self, keys: &[String]) -> impl Future<Output = Result<Pairs, StoreError>>;
}

/// Keys and their values, as [`Store::get_many`] returns them.
pub type Pairs = Vec<(String, Option<Vec<u8>>)>;

/// The stores that the host grants, by name.
pub trait Stores {
    /// An open store, which stays open until it is dropped.
    type Store: Store;
    /// Opens the store called `name`.
    ///
    /// # Errors
    /// [`StoreError::NoSuchStore`] and [`StoreError::AccessDenied`], as the host decides.
    fn open(&self, name: &str) -> Result<Self::Store, StoreError>;
}

/// Why an operation on a store failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// The host knows no store of that name.
    NoSuchStore,
    /// The host does not grant that store to this component.
    AccessDenied,
    /// Another error, in the store's own words.
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

/// An HTTP client. It sets no time limit of its own: to give up, the caller drops the future.
pub trait Fetch {
    /// Sends `request` and reads the whole response.
    ///
    /// # Errors
    /// [`FetchError`]; a body longer than `max_body` bytes is [`FetchError::BodyTooLarge`].
    fn fetch(
        &self,
        request: &FetchRequest<'_>,
        max_body: usize,
    ) -> impl Future<Output = Result<FetchResponse, FetchError>>;
}

/// A request to another server, without a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchRequest<'a> {
    /// `GET`, or `POST` to ask for a token.
    pub method: FetchMethod,
    /// Whether the scheme is `https`; else it is `http`.
    pub https: bool,
    /// The server: `host` or `host:port`.
    pub authority: &'a str,
    /// The target in origin form: path and query, percent-encoded.
    pub path: &'a str,
    /// Field names in lower case, with their values.
    pub headers: &'a [(&'static str, String)],
}

/// The method of a [`FetchRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchMethod {
    /// `GET`
    Get,
    /// `POST`
    Post,
}

/// The response to a [`FetchRequest`], whatever its status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchResponse {
    /// The status code, which may be any number.
    pub status: u16,
    /// Field names as the platform gives them, with the values as received.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The complete body, without transfer coding.
    pub body: Vec<u8>,
}

/// Why a [`FetchRequest`] got no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// A time limit of the host ended the exchange.
    Timeout,
    /// No connection: refused, name not found, TLS failure, or forbidden by the host's egress policy.
    Connect(String),
    /// The response is not valid HTTP, or it ended early.
    Protocol(String),
    /// The body is longer than the caller allows.
    BodyTooLarge,
}

impl std::fmt::Display for FetchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Timeout => f.write_str("no response in time"),
            Self::Connect(reason) => write!(f, "no connection: {reason}"),
            Self::Protocol(reason) => write!(f, "invalid response: {reason}"),
            Self::BodyTooLarge => f.write_str("the body is too large"),
        }
    }
}

/// The two clocks. Ages are compared across processes, so they use the system clock. Durations and deadlines use the
/// monotonic clock.
pub trait Clock {
    /// Time since an arbitrary fixed moment. Never decreases.
    fn monotonic(&self) -> Duration;
    /// The current time since the Unix epoch.
    fn system(&self) -> Duration {
        self.system_at(self.monotonic())
    }
    /// Time since the Unix epoch at `moment`, a monotonic time of less than a second ago. A caller that already has
    /// the monotonic time saves one host call.
    fn system_at(&self, moment: Duration) -> Duration;
    /// A future that completes after `duration`.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static;
}

/// A source of unpredictable numbers, for generation tokens, revisions and jitter.
pub trait Random {
    /// A number of 64 unpredictable bits.
    fn random(&self) -> u64;
}

/// A source of settings (`wasi:config`).
pub trait Configuration {
    /// The value of the setting `name`; `None` if it is not set.
    ///
    /// # Errors
    /// Why the source cannot be read, in its own words.
    fn setting(&self, name: &str) -> Result<Option<String>, String>;
}

/// Starts tasks that may outlive the request that starts them.
pub trait Spawn {
    /// Runs `task` to its end, also after the response is sent.
    fn spawn(&self, task: impl Future<Output = ()> + 'static);
}

/// Signals that one request's task sends to another's. A Rust waker does not work between two component-model tasks,
/// so each platform provides its own way.
pub trait Notify {
    /// The sender: dropping it is the signal.
    type Notifier: 'static;
    /// The receiver: completes when the sender is dropped.
    type Notified: Future<Output = ()> + 'static;
    /// A notifier, and the future that waits for it.
    fn notification(&self) -> (Self::Notifier, Self::Notified);
}

/// The severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The line describes normal operation.
    Info,
    /// The service copes, but an operator should look at the cause.
    Warn,
    /// The service does not work as intended until an operator acts.
    Error,
}

/// The output of the log.
pub trait Log {
    /// Writes `line`, which has no line break, as it is.
    fn log(&self, line: &str);
}

/// Everything that a service runs on.
pub trait Platform: Stores + Fetch + Clock + Random + Configuration + Spawn + Notify + Log + 'static {}

impl<T> Platform for T where
    T: Stores + Fetch + Clock + Random + Configuration + Spawn + Notify + Log + 'static
{
}
