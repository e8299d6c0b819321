//! Fakes of the platform: stores that behave as Spin's, a GitHub whose answers each test defines, and a paused clock.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::channel::oneshot;
use gists::cache::entry;
use gists::cache::key::GenerationRecord;
use gists::ports::{
    Clock, Configuration, Fetch, FetchError, FetchMethod, FetchRequest, FetchResponse, Log, Notify, Pairs,
    Random, Request, Spawn, Store, StoreError, Stores,
};
use gists::response::Response;
use gists::service::{self, App};
use gists::upstream::gate;
use tokio::time::Instant;

/// The system time at which each test starts: a day in 2027.
pub(crate) const EPOCH: Duration = Duration::from_secs(1_800_000_000);

/// A generator of random numbers that a seed makes repeatable.
#[derive(Debug)]
pub(crate) struct Rng(RefCell<fastrand::Rng>);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(RefCell::new(fastrand::Rng::with_seed(seed)))
    }

    pub(crate) fn next(&self) -> u64 {
        self.0.borrow_mut().u64(..)
    }

    /// A number from 0 to `bound - 1`.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        self.0.borrow_mut().u64(..bound)
    }
}

#[derive(Debug, Clone)]
enum Value {
    Bytes(Vec<u8>),
    Counter(i64),
}

/// The keys of the operations that a store was asked for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct StoreCalls {
    pub(crate) gets: Vec<String>,
    pub(crate) get_manys: usize,
    pub(crate) sets: Vec<String>,
    pub(crate) deletes: Vec<String>,
    pub(crate) increments: Vec<String>,
    pub(crate) replaces: Vec<String>,
}

impl StoreCalls {
    /// The operations that commit a write on Spin's SQLite store.
    pub(crate) fn writes(&self) -> usize {
        self.sets.len() + self.deletes.len() + self.increments.len() + self.replaces.len()
    }
}

/// A store that behaves as Spin's: `get_many` has no order and leaves out missing keys, counters have an encoding of
/// their own, and increments are writes even if they add 0.
#[derive(Debug)]
pub(crate) struct FakeStore {
    values: RefCell<BTreeMap<String, Value>>,
    /// When each key was last written.
    written: RefCell<HashMap<String, Instant>>,
    /// How long a key is kept after it was last written; `None`: for ever.
    pub(crate) ttl: Cell<Option<Duration>>,
    pub(crate) calls: RefCell<StoreCalls>,
    /// The longest value that the store accepts, in bytes.
    pub(crate) max_value: Cell<usize>,
    /// While this is set, increments of leases take effect and fail nevertheless: their answers are lost.
    pub(crate) loses_answers: Cell<bool>,
    /// While this is set, every operation fails.
    pub(crate) down: Cell<bool>,
    /// The most milliseconds that an operation takes, before and again after it takes effect.
    pub(crate) latency: Cell<u64>,
    /// The percentage of operations before and after which the store removes a key, any key.
    pub(crate) evicting: Cell<u64>,
    rng: Rng,
}

impl FakeStore {
    pub(crate) fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            values: RefCell::default(),
            written: RefCell::default(),
            ttl: Cell::new(None),
            max_value: Cell::new(usize::MAX),
            loses_answers: Cell::new(false),
            evicting: Cell::new(0),
            calls: RefCell::default(),
            down: Cell::new(false),
            latency: Cell::new(0),
            rng: Rng::new(seed),
        })
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.values.borrow().keys().cloned().collect()
    }

    pub(crate) fn keys_with(&self, part: &str) -> Vec<String> {
        self.keys().into_iter().filter(|key| key.contains(part)).collect()
    }

    pub(crate) fn bytes(&self, key: &str) -> Option<Vec<u8>> {
        match self.values.borrow().get(key) {
            Some(Value::Bytes(bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }

    pub(crate) fn plant(&self, key: &str, bytes: &[u8]) {
        self.values.borrow_mut().insert(key.to_owned(), Value::Bytes(bytes.to_vec()));
    }

    pub(crate) fn remove(&self, key: &str) {
        assert!(self.values.borrow_mut().remove(key).is_some(), "{key} is not there");
    }

    pub(crate) fn take_calls(&self) -> StoreCalls {
        self.calls.take()
    }

    async fn pause(&self) {
        if self.latency.get() > 0 {
            let pause = self.rng.below(self.latency.get() + 1);
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn apply<T>(&self, work: impl FnOnce(&mut BTreeMap<String, Value>) -> T) -> Result<T, StoreError> {
        self.pause().await;
        if self.down.get() {
            return Err(StoreError::Other("the store is down".to_owned()));
        }
        self.expire();
        self.evict();
        let result = work(&mut self.values.borrow_mut());
        self.evict();
        self.pause().await;
        Ok(result)
    }

    /// Perhaps removes a key, as a store does that is full.
    fn evict(&self) {
        let mut values = self.values.borrow_mut();
        if !values.is_empty() && self.rng.below(100) < self.evicting.get() {
            let nth = usize::try_from(self.rng.below(values.len().try_into().unwrap())).unwrap();
            let key = values.keys().nth(nth).unwrap().clone();
            values.remove(&key);
        }
    }

    /// Removes what nobody has written for longer than the time to live.
    fn expire(&self) {
        if let Some(ttl) = self.ttl.get() {
            let mut written = self.written.borrow_mut();
            self.values.borrow_mut().retain(|key, _| written.get(key).is_none_or(|at| at.elapsed() < ttl));
            written.retain(|_, at| at.elapsed() < ttl);
        }
    }

    fn write(&self, values: &mut BTreeMap<String, Value>, key: &str, value: Value) {
        self.written.borrow_mut().insert(key.to_owned(), Instant::now());
        values.insert(key.to_owned(), value);
    }
}

/// A handle to a [`FakeStore`].
#[derive(Debug, Clone)]
pub(crate) struct Handle(pub(crate) Rc<FakeStore>);

impl Store for Handle {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.calls.borrow_mut().gets.push(key.to_owned());
        self.0.apply(|values| values.get(key).map(stored)).await
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.0.calls.borrow_mut().sets.push(key.to_owned());
        if value.len() > self.0.max_value.get() {
            return Err(StoreError::Other("the value is too large".to_owned()));
        }
        let value = Value::Bytes(value.to_vec());
        self.0.apply(|values| self.0.write(values, key, value)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.0.calls.borrow_mut().deletes.push(key.to_owned());
        self.0.apply(|values| drop(values.remove(key))).await
    }

    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.0.calls.borrow_mut().increments.push(key.to_owned());
        let add = |values: &mut BTreeMap<String, Value>| {
            let sum = match values.get(key) {
                None => delta,
                Some(Value::Counter(counter)) => counter + delta,
                // Hosts differ here, and one of them panics. The service must not do this.
                Some(Value::Bytes(_)) => panic!("{key} is not a counter"),
            };
            self.0.write(values, key, Value::Counter(sum));
            sum
        };
        let sum = self.0.apply(add).await?;
        if self.0.loses_answers.get() && key.starts_with("lease:") {
            return Err(StoreError::Other("no answer in time".to_owned()));
        }
        Ok(sum)
    }

    async fn replace(&self, key: &str, current: &[u8], new: &[u8]) -> Result<bool, StoreError> {
        self.0.calls.borrow_mut().replaces.push(key.to_owned());
        let replace = |values: &mut BTreeMap<String, Value>| match values.get(key) {
            Some(Value::Bytes(bytes)) => {
                let same = bytes == current;
                if same {
                    self.0.write(values, key, Value::Bytes(new.to_vec()));
                }
                same
            }
            // On Spin's stores, everybody's swap of an absent key succeeds. The service must not do this to a counter.
            None => {
                self.0.write(values, key, Value::Bytes(new.to_vec()));
                true
            }
            Some(Value::Counter(_)) => panic!("{key} is a counter"),
        };
        self.0.apply(replace).await
    }

    async fn get_many(&self, keys: &[String]) -> Result<Pairs, StoreError> {
        self.0.calls.borrow_mut().get_manys += 1;
        let start = usize::try_from(self.0.rng.below(16)).unwrap();
        let look_up = |values: &mut BTreeMap<String, Value>| {
            let mut pairs: Pairs = keys
                .iter()
                .filter_map(|key| values.get(key).map(|value| (key.clone(), Some(stored(value)))))
                .collect();
            let length = pairs.len().max(1);
            pairs.rotate_left(start % length);
            pairs.reverse();
            pairs
        };
        self.0.apply(look_up).await
    }
}

/// A store as an instance opens it.
#[derive(Debug)]
pub(crate) struct Opened {
    handle: Handle,
    version: Version,
}

/// The version of the service that an instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// The one under test.
    This,
    /// One that differs in the formats of what it stores, and in nothing else.
    Other,
}

impl Version {
    /// The key that this version uses in place of `key`.
    fn key(self, key: &str) -> String {
        match self {
            Self::This => key.to_owned(),
            Self::Other => key
                .replace(&format!(":{}:", entry::FORMAT), ":v?:")
                .replace(&format!("gate:v{}:", gate::FORMAT), "gate:v?:")
                .replace(GenerationRecord::KEY, "generation:v?"),
        }
    }

    /// Between what this version stores under `key` and what the version under test would store there.
    fn translate(self, key: &str, mut value: Vec<u8>) -> Vec<u8> {
        let swap = |field: &mut [u8], ours: &[u8], theirs: &[u8]| {
            let other = if *field == *ours { theirs } else { ours };
            field.copy_from_slice(other);
        };
        let is_record =
            [":gists:", ":absent:"].iter().any(|part| key.contains(part)) && !key.contains("ring:");
        match (self, value.as_mut_slice()) {
            (Self::Other, [.., a, b]) if is_record => {
                let mut field = [*a, *b];
                swap(&mut field, entry::FORMAT.as_bytes(), b"v?");
                [*a, *b] = field;
            }
            (Self::Other, [format, ..]) if key.starts_with("gate:") => {
                swap(std::slice::from_mut(format), &[gate::FORMAT], b"?");
            }
            (Self::Other, [..]) if key.starts_with("ring:") => {
                return self.key(&String::from_utf8(value).unwrap()).into_bytes();
            }
            _ => {}
        }
        value
    }
}

impl Store for Opened {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.handle.get(&self.version.key(key)).await?;
        Ok(value.map(|value| self.version.translate(key, value)))
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let value = self.version.translate(key, value.to_vec());
        self.handle.set(&self.version.key(key), &value).await
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.handle.delete(&self.version.key(key)).await
    }

    async fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.handle.increment(&self.version.key(key), delta).await
    }

    async fn replace(&self, key: &str, current: &[u8], new: &[u8]) -> Result<bool, StoreError> {
        let [current, new] = [current, new].map(|value| self.version.translate(key, value.to_vec()));
        self.handle.replace(&self.version.key(key), &current, &new).await
    }

    async fn get_many(&self, keys: &[String]) -> Result<Pairs, StoreError> {
        let theirs: Vec<_> = keys.iter().map(|key| self.version.key(key)).collect();
        let pairs = self.handle.get_many(&theirs).await?.into_iter();
        let ours = |(name, value): (String, Option<Vec<u8>>)| {
            let (key, _) = keys.iter().zip(&theirs).find(|(_, theirs)| **theirs == name).unwrap();
            let value = value.map(|value| self.version.translate(key, value));
            (key.clone(), value)
        };
        Ok(pairs.map(ours).collect())
    }
}

fn stored(value: &Value) -> Vec<u8> {
    match value {
        Value::Bytes(bytes) => bytes.clone(),
        Value::Counter(counter) => counter.to_le_bytes().to_vec(),
    }
}

/// A request that GitHub received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GitHubRequest {
    pub(crate) method: FetchMethod,
    pub(crate) path: String,
    pub(crate) headers: HashMap<&'static str, String>,
    pub(crate) at: Duration,
}

type Answering = Pin<Box<dyn Future<Output = Result<FetchResponse, FetchError>>>>;
type Answerer = dyn Fn(&GitHubRequest) -> Answering;

/// What the instances share: stores, settings, GitHub, the clock and the log.
pub(crate) struct World {
    pub(crate) store: Rc<FakeStore>,
    pub(crate) metrics: Rc<FakeStore>,
    pub(crate) settings: RefCell<HashMap<String, String>>,
    pub(crate) asked: RefCell<Vec<GitHubRequest>>,
    pub(crate) at_once: Cell<(usize, usize)>,
    pub(crate) logs: RefCell<Vec<String>>,
    /// How far the system clock has been set back.
    pub(crate) set_back: Cell<Duration>,
    answer: RefCell<Rc<Answerer>>,
    began: Instant,
    rng: Rng,
}

impl World {
    /// A world in which GitHub knows every user, takes 100 ms, and sends a page with the user's name.
    pub(crate) fn new() -> Rc<Self> {
        let world = Rc::new(Self {
            store: FakeStore::new(1),
            metrics: FakeStore::new(2),
            settings: RefCell::default(),
            asked: RefCell::default(),
            at_once: Cell::default(),
            logs: RefCell::default(),
            set_back: Cell::default(),
            answer: RefCell::new(Rc::new(|_| Box::pin(async { Ok(page("")) }))),
            began: Instant::now(),
            rng: Rng::new(3),
        });
        world.set("metrics_store", "metrics");
        world.github(|asked| page(&name_in(&asked.path)));
        world
    }

    pub(crate) fn set(&self, name: &str, value: &str) {
        self.settings.borrow_mut().insert(name.to_owned(), value.to_owned());
    }

    /// From now on, GitHub answers with `answer` after 100 ms.
    pub(crate) fn github(&self, answer: impl Fn(&GitHubRequest) -> FetchResponse + 'static) {
        self.github_after(Duration::from_millis(100), move |asked| Ok(answer(asked)));
    }

    /// From now on, GitHub answers with `answer` after `delay`.
    pub(crate) fn github_after(
        &self,
        delay: Duration,
        answer: impl Fn(&GitHubRequest) -> Result<FetchResponse, FetchError> + 'static,
    ) {
        *self.answer.borrow_mut() = Rc::new(move |asked| {
            let answer = answer(asked);
            Box::pin(tokio::time::sleep(delay).map(|()| answer))
        });
    }

    pub(crate) fn asked(&self) -> usize {
        self.asked.borrow().len()
    }

    pub(crate) fn last_asked(&self) -> GitHubRequest {
        self.asked.borrow().last().cloned().expect("GitHub was asked")
    }

    /// Starts an instance.
    pub(crate) fn instance(self: &Rc<Self>) -> Instance {
        self.instance_of(Version::This)
    }

    /// Starts an instance of a version.
    pub(crate) fn instance_of(self: &Rc<Self>, version: Version) -> Instance {
        let tasks = Rc::default();
        let app = App::new(Fake { world: Rc::clone(self), version, tasks: Rc::clone(&tasks) });
        Instance { app: Rc::new(app), tasks }
    }

    pub(crate) fn counter(&self, key: &str) -> i64 {
        match self.metrics.values.borrow().get(key) {
            Some(Value::Counter(counter)) => *counter,
            _ => 0,
        }
    }
}

/// An instance of the service.
pub(crate) struct Instance {
    pub(crate) app: Rc<App<Fake>>,
    tasks: Rc<Tasks>,
}

impl Instance {
    pub(crate) async fn get(&self, target: &str) -> TestResponse {
        self.send(&TestRequest::get(target)).await
    }

    pub(crate) async fn send(&self, request: &TestRequest) -> TestResponse {
        answer(&self.app, &self.tasks, request).await
    }

    /// Sends a request in a task of its own.
    pub(crate) fn start(&self, target: &str) -> tokio::task::JoinHandle<TestResponse> {
        let (app, tasks, request) = (Rc::clone(&self.app), Rc::clone(&self.tasks), TestRequest::get(target));
        let task = tokio::task::spawn_local(async move { answer(&app, &tasks, &request).await });
        self.tasks.borrow_mut().push(task.abort_handle());
        task
    }

    /// The instance traps, or its process dies: all of its tasks end where they are.
    pub(crate) fn crash(self) {
        for task in self.tasks.take() {
            task.abort();
        }
    }
}

type Tasks = RefCell<Vec<tokio::task::AbortHandle>>;

/// Answers a request. The work after the response starts when the response is there.
async fn answer(app: &Rc<App<Fake>>, tasks: &Tasks, request: &TestRequest) -> TestResponse {
    let (response, after) = service::handle(app, request).await;
    tasks.borrow_mut().push(tokio::task::spawn_local(after.run()).abort_handle());
    TestResponse::from(response)
}

/// A client's request.
#[derive(Debug, Clone)]
pub(crate) struct TestRequest {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
}

impl TestRequest {
    pub(crate) fn get(target: &str) -> Self {
        Self { method: "GET", target: target.to_owned(), headers: Vec::new() }
    }

    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = method;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }
}

impl Request for TestRequest {
    fn method(&self) -> &str {
        self.method
    }

    fn target(&self) -> &str {
        &self.target
    }

    fn header(&self, name: &str) -> Vec<Vec<u8>> {
        let values = self.headers.iter().filter(|(other, _)| *other == name);
        values.map(|(_, value)| value.clone().into_bytes()).collect()
    }
}

/// A response as a client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TestResponse {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl From<Response> for TestResponse {
    fn from(response: Response) -> Self {
        let mut headers = BTreeMap::new();
        response.head.headers(|name, value| {
            assert_eq!(headers.insert(name.to_owned(), value.to_owned()), None, "{name} comes twice");
            assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{name}: {value:?}");
        });
        let status = response.head.status();
        let body = String::from_utf8(response.body.as_bytes().to_vec()).expect("a body in UTF-8");
        match headers.get("content-length") {
            Some(length) => assert_eq!(*length, body.len().to_string()),
            None => assert_eq!(body, ""),
        }
        Self { status, headers, body }
    }
}

impl TestResponse {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    pub(crate) fn is_hit(&self) -> bool {
        self.json()["cache"]["hit"].as_bool().expect("a page")
    }

    pub(crate) fn cache_status(&self) -> &str {
        self.header("cache-status")
    }
}

/// The platform of one instance.
pub(crate) struct Fake {
    world: Rc<World>,
    version: Version,
    tasks: Rc<Tasks>,
}

impl Stores for Fake {
    type Store = Opened;

    fn open(&self, name: &str) -> Result<Opened, StoreError> {
        let store = match name {
            "default" => &self.world.store,
            "metrics" => &self.world.metrics,
            // Spin also denies access to stores that do not exist.
            _ => return Err(StoreError::AccessDenied),
        };
        Ok(Opened { handle: Handle(Rc::clone(store)), version: self.version })
    }
}

impl Fetch for Fake {
    async fn fetch(&self, request: &FetchRequest<'_>, max_body: usize) -> Result<FetchResponse, FetchError> {
        /// Counts down, also if the request is given up.
        struct InFlight<'a>(&'a World);
        impl Drop for InFlight<'_> {
            fn drop(&mut self) {
                let (now, most) = self.0.at_once.get();
                self.0.at_once.set((now - 1, most));
            }
        }
        let asked = GitHubRequest {
            method: request.method,
            path: request.path.to_owned(),
            headers: request.headers.iter().cloned().collect(),
            at: self.monotonic(),
        };
        let (now, most) = self.world.at_once.get();
        self.world.at_once.set((now + 1, most.max(now + 1)));
        let _in_flight = InFlight(&self.world);
        let answer = Rc::clone(&self.world.answer.borrow());
        self.world.asked.borrow_mut().push(asked.clone());
        let fetched = answer(&asked).await?;
        if fetched.body.len() > max_body { Err(FetchError::BodyTooLarge) } else { Ok(fetched) }
    }
}

impl Clock for Fake {
    fn monotonic(&self) -> Duration {
        self.world.began.elapsed()
    }

    fn system_at(&self, moment: Duration) -> Duration {
        EPOCH + moment - self.world.set_back.get()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }
}

impl Random for Fake {
    fn random(&self) -> u64 {
        self.world.rng.next()
    }
}

impl Configuration for Fake {
    fn setting(&self, name: &str) -> Result<Option<String>, String> {
        Ok(self.world.settings.borrow().get(name).cloned())
    }
}

impl Spawn for Fake {
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.borrow_mut().push(tokio::task::spawn_local(task).abort_handle());
    }
}

impl Notify for Fake {
    type Notifier = oneshot::Sender<()>;
    type Notified = futures::future::Map<oneshot::Receiver<()>, fn(Result<(), oneshot::Canceled>)>;

    fn notification(&self) -> (Self::Notifier, Self::Notified) {
        let (notifier, notified) = oneshot::channel();
        (notifier, notified.map(|_| ()))
    }
}

impl Log for Fake {
    fn log(&self, line: &str) {
        self.world.logs.borrow_mut().push(line.to_owned());
    }
}

/// GitHub's 200 with one gist, described by `description`.
pub(crate) fn page(description: &str) -> FetchResponse {
    let body = serde_json::json!([{
        "id": "aa5a315d61ae9438b18d",
        "html_url": "https://gist.github.com/aa5a315d61ae9438b18d",
        "description": description,
        "public": true,
        "created_at": "2010-04-14T02:15:15Z",
        "files": {},
    }]);
    FetchResponse {
        status: 200,
        headers: vec![
            ("content-type".to_owned(), b"application/json; charset=utf-8".to_vec()),
            ("etag".to_owned(), format!("W/\"{description}\"").into_bytes()),
            ("x-ratelimit-remaining".to_owned(), b"57".to_vec()),
        ],
        body: body.to_string().into_bytes(),
    }
}

/// GitHub's answer with `status` and without a page.
pub(crate) fn failure(status: u16, headers: &[(&str, &str)]) -> FetchResponse {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()));
    FetchResponse { status, headers: headers.collect(), body: br#"{"message":"no"}"#.to_vec() }
}

/// The user in the path of a request to GitHub.
pub(crate) fn name_in(path: &str) -> String {
    path.split('/').nth(2).unwrap_or_default().to_owned()
}

/// Runs a test in its own world, with a paused clock.
pub(crate) fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<World>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let tasks = tokio::task::LocalSet::new();
    runtime.unwrap().block_on(tasks.run_until(async move { test(World::new()).await }));
}

pub(crate) async fn seconds(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

pub(crate) async fn millis(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}
