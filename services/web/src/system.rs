//! What a service needs of the system that it runs on: WASI, or a fake one in tests.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{FetchError, Fetched, Outgoing};
use crate::store::{Store, StoreError};

/// A future that axum's handlers can await.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The functions that WASI implements, and the fake system of tests.
pub trait System: Send + Sync {
    /// Time since an arbitrary fixed moment. Never decreases.
    fn monotonic(&self) -> Duration;
    /// Time since the Unix epoch.
    fn unix_time(&self) -> Duration;
    /// 64 unpredictable bits.
    fn random(&self) -> u64;
    /// The value of the setting `name` in `wasi:config`; `None` if it is not set.
    ///
    /// # Errors
    /// Why the settings cannot be read, in the system's words.
    fn setting(&self, name: &str) -> Result<Option<String>, String>;
    /// The value of the environment variable `name`.
    fn variable(&self, name: &str) -> Option<String>;
    /// Opens the key-value store `name`.
    ///
    /// # Errors
    /// The system has no such store, or does not grant it.
    fn store(&self, name: &str) -> Result<Arc<dyn Store>, StoreError>;
    /// Sends `request` and reads the whole response, within the request's limits.
    fn fetch(&self, request: Outgoing) -> BoxFuture<Result<Fetched, FetchError>>;
    /// Runs `work` when the response is on its way.
    fn after_response(&self, work: Box<dyn FnOnce() + Send>);
    /// Writes a log line.
    fn log(&self, line: &str);
}
