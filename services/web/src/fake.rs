//! A fake system for tests: clocks that stand still, settings and stores in memory, other services as routers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use futures::executor::block_on;
use http::{HeaderMap, Request};
use tower::ServiceExt as _;

use crate::body::read_body;
use crate::client::{FetchError, Fetched, Outgoing};
use crate::platform::Platform;
use crate::store::{Store, StoreError};
use crate::system::{BoxFuture, System};

/// The most bytes of a response's body that a test reads.
const MAX_BODY: usize = 16 * 1024 * 1024;

/// What stands behind an authority.
#[derive(Clone)]
enum Upstream {
    Router(Router),
    Error(FetchError),
}

#[derive(Default)]
struct State {
    monotonic: Duration,
    unix_time: Duration,
    random: u64,
    settings: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
    stores: BTreeMap<String, Arc<Memory>>,
    denied_stores: BTreeSet<String>,
    upstreams: BTreeMap<String, Upstream>,
    requests: Vec<Outgoing>,
    log_lines: Vec<String>,
}

/// A fake system. Clones share it.
#[derive(Clone, Default)]
pub struct Fake(Arc<Mutex<State>>);

impl Fake {
    /// A system at the Unix epoch without settings. Every store exists, and is empty. There are no other services.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The platform on this system.
    #[must_use]
    pub fn platform(&self) -> Platform {
        Platform::new(self.clone())
    }

    /// Sets the setting `name` (`wasi:config`).
    pub fn setting(&self, name: &str, value: &str) {
        self.state().settings.insert(name.to_owned(), value.to_owned());
    }

    /// Sets the environment variable `name`.
    pub fn variable(&self, name: &str, value: &str) {
        self.state().variables.insert(name.to_owned(), value.to_owned());
    }

    /// Sets the time since the Unix epoch.
    pub fn set_time(&self, unix_time: Duration) {
        self.state().unix_time = unix_time;
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.state();
        state.monotonic += duration;
        state.unix_time += duration;
    }

    /// Requests to `authority` (`host` or `host:port`) are answered by `router`.
    pub fn serve(&self, authority: &str, router: Router) {
        self.state().upstreams.insert(authority.to_owned(), Upstream::Router(router));
    }

    /// Requests to `authority` fail.
    pub fn fail(&self, authority: &str, error: FetchError) {
        self.state().upstreams.insert(authority.to_owned(), Upstream::Error(error));
    }

    /// The store `name` is not granted any more.
    pub fn deny_store(&self, name: &str) {
        self.state().denied_stores.insert(name.to_owned());
    }

    /// The store `name`.
    #[must_use]
    pub fn store(&self, name: &str) -> Arc<Memory> {
        Arc::clone(self.state().stores.entry(name.to_owned()).or_default())
    }

    /// The requests to other services so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Outgoing> {
        self.state().requests.clone()
    }

    /// The log lines so far.
    #[must_use]
    pub fn log_lines(&self) -> Vec<String> {
        self.state().log_lines.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.0)
    }
}

impl System for Fake {
    fn monotonic(&self) -> Duration {
        self.state().monotonic
    }

    fn unix_time(&self) -> Duration {
        self.state().unix_time
    }

    /// Different each time, and the same in each run.
    fn random(&self) -> u64 {
        let mut state = self.state();
        state.random = state.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        state.random
    }

    fn setting(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.state().settings.get(name).cloned())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.state().variables.get(name).cloned()
    }

    fn store(&self, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        if self.state().denied_stores.contains(name) {
            return Err(StoreError::AccessDenied);
        }
        Ok(Self::store(self, name))
    }

    fn fetch(&self, request: Outgoing) -> BoxFuture<Result<Fetched, FetchError>> {
        let authority = request.url.authority().map(ToString::to_string).unwrap_or_default();
        let mut state = self.state();
        state.requests.push(request.clone());
        let upstream = state.upstreams.get(&authority).cloned();
        drop(state);
        Box::pin(async move {
            match upstream {
                None => Err(FetchError::Connect(format!("no server at {authority}"))),
                Some(Upstream::Error(error)) => Err(error),
                Some(Upstream::Router(router)) => forward(router, request).await,
            }
        })
    }

    fn after_response(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn log(&self, line: &str) {
        self.state().log_lines.push(line.to_owned());
    }
}

/// Answers `outgoing` by `router`.
async fn forward(router: Router, outgoing: Outgoing) -> Result<Fetched, FetchError> {
    let Outgoing { method, url, headers, body, max_body, .. } = outgoing;
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = url;
    *request.headers_mut() = headers;
    let response = match router.oneshot(request).await {
        Ok(response) => response,
        Err(error) => match error {},
    };
    let (parts, body) = response.into_parts();
    let body = read_body(body, max_body).await.map_err(|_| FetchError::BodyTooLarge)?;
    Ok(Fetched::from_parts(parts, body))
}

/// A key-value store in memory.
#[derive(Default)]
pub struct Memory(Mutex<BTreeMap<String, Vec<u8>>>);

impl Store for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(locked(&self.0).get(key).cloned())
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let entries = locked(&self.0);
        Ok(keys.iter().map(|key| entries.get(key).cloned()).collect())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        locked(&self.0).insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        locked(&self.0).remove(key);
        Ok(())
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let entries = locked(&self.0);
        Ok(entries.keys().filter(|key| key.starts_with(prefix)).take(limit).cloned().collect())
    }

    /// The number is kept as decimal text, as Redis does.
    fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        let mut entries = locked(&self.0);
        let current = match entries.get(key) {
            None => 0,
            Some(value) => std::str::from_utf8(value)
                .ok()
                .and_then(|text| text.parse::<i64>().ok())
                .ok_or_else(|| StoreError::Other(format!("the value of {key} is no number")))?,
        };
        let sum = current
            .checked_add(delta)
            .ok_or_else(|| StoreError::Other(format!("the value of {key} is too large")))?;
        entries.insert(key.to_owned(), sum.to_string().into_bytes());
        Ok(sum)
    }

    fn compare_and_swap(&self, key: &str, current: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        let mut entries = locked(&self.0);
        if entries.get(key).map(Vec::as_slice) != current {
            return Ok(false);
        }
        entries.insert(key.to_owned(), new.to_vec());
        Ok(true)
    }
}

/// A test that panicked while it held the lock has failed already.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A response with its whole body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first value of the header `name`; empty if there is none, or if it is no text.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as text; empty if it is no UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }

    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Sends a `GET` to `router`.
pub fn get(router: &Router, target: &str) -> Answer {
    send(router, "GET", target, &[], "")
}

/// Sends a request to `router`.
///
/// # Panics
/// The arguments are no valid request.
#[expect(clippy::expect_used, reason = "a test that sends an invalid request is wrong")]
pub fn send(router: &Router, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).expect("a valid request");
    match block_on(router.clone().oneshot(request)) {
        Ok(response) => answer_of(response),
        Err(error) => match error {},
    }
}

/// Reads the whole of `response`.
///
/// # Panics
/// The body is longer than 16 MiB.
#[expect(clippy::expect_used, reason = "a test whose service sends that much has failed")]
#[must_use]
pub fn answer_of(response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let body = block_on(read_body(body, MAX_BODY)).expect("a whole body").to_vec();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}
