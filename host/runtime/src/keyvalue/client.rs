//! What an instance holds of `wasi:keyvalue`.

use std::{cell::RefCell, fmt, pin::pin, sync::Arc, task::Poll};

use bytes::Bytes;
use wasi_http_host_keyvalue::{
    Access, Backend, Error, KeyPage, KeyValueSpan, MAX_KEY_BYTES, MAX_VALUE_BYTES, Operation, Snapshot,
    Stats, Store, Swap,
};
use wasmtime::{
    AsContextMut as _, StoreContextMut,
    component::{Resource, ResourceTable},
};

use crate::traced::TracedTasks;

/// Most keys in one batch call.
const MAX_BATCH_KEYS: usize = 1024;

/// Most compare-and-swap handles that an instance has at once.
const MAX_CAS_HANDLES: usize = 1024;

/// Most bytes that an instance's compare-and-swap handles keep alive of values that may be gone from the store.
const MAX_CAS_BYTES: usize = 2 * MAX_VALUE_BYTES;

/// Keys with their values.
type Pairs = Vec<(String, Option<Bytes>)>;

/// `bucket`: its representation is the index of the store in [`Access`], so that opening one allocates nothing.
pub(super) struct Bucket;

/// `cas`: a compare-and-swap that has begun.
pub(super) struct Cas {
    pub(super) store: u32,
    pub(super) key: Box<str>,
    pub(super) seen: Snapshot,
}

impl Cas {
    fn pinned_bytes(&self) -> usize {
        self.seen.value.as_ref().map_or(0, Bytes::len)
    }
}

/// The span of an operation that begins; `None` where nobody looks.
pub(super) fn span<T>(
    cx: &mut StoreContextMut<'_, T>,
    get: fn(&T) -> &Client,
    operation: Operation,
    bucket: u32,
) -> Option<KeyValueSpan> {
    let client = get(cx.data());
    let (traced, access) = (client.traced.clone()?, client.access.clone());
    let parent = traced.caller(cx.as_context_mut())?;
    KeyValueSpan::begin(&traced.tracer, &traced.component, parent, operation, &access, bucket)
}

/// Told when an instance begins (`true`) and ends (`false`) to stand still in a call.
pub(crate) type OnWait = Arc<dyn Fn(bool) + Send + Sync>;

/// What an instance holds of `wasi:keyvalue`. It lives in the store data; a guest calls from one thread at a time.
pub(crate) struct Client {
    access: Access,
    stats: Arc<Stats>,
    cas: RefCell<CasTable>,
    on_wait: OnWait,
    traced: Option<Arc<TracedTasks>>,
}

#[derive(Debug)]
struct CasTable {
    handles: ResourceTable,
    pinned_bytes: usize,
}

/// How the guest's swap ended; a lost one gives the handle of the next try.
pub(super) enum CasError {
    Store(Error),
    Failed(Resource<Cas>),
}

/// A host function's result: outside it traps the guest, inside it answers it.
type Trapping<R> = wasmtime::Result<Result<R, Error>>;

impl Client {
    /// A client with the access of its component; `stats` may be shared by many.
    #[must_use]
    pub(crate) fn new(access: Access, stats: Arc<Stats>) -> Self {
        let mut handles = ResourceTable::new();
        handles.set_max_capacity(MAX_CAS_HANDLES);
        let cas = RefCell::new(CasTable { handles, pinned_bytes: 0 });
        Self { access, stats, cas, on_wait: Arc::new(|_| {}), traced: None }
    }

    /// The same, saying when it waits.
    pub(crate) fn on_wait(self, on_wait: OnWait) -> Self {
        Self { on_wait, ..self }
    }

    /// The same, telling traces of each operation.
    pub(crate) fn traced(self, traced: Option<Arc<TracedTasks>>) -> Self {
        Self { traced, ..self }
    }

    fn backend(&self, index: u32) -> wasmtime::Result<&Backend> {
        self.access.backend(index).ok_or_else(|| wasmtime::format_err!("no store {index} behind this bucket"))
    }

    fn store(&self, index: u32) -> wasmtime::Result<&dyn Store> {
        let store = self.backend(index)?.local();
        store.ok_or_else(|| wasmtime::format_err!("store {index} is remote, but linked as if it were not"))
    }

    /// A call that may have to wait, and the store that it is for.
    pub(super) fn task(
        &self,
        operation: Operation,
        store: u32,
        span: Option<KeyValueSpan>,
    ) -> wasmtime::Result<(Task, Backend)> {
        let task = Task { operation, stats: self.stats.clone(), on_wait: self.on_wait.clone(), span };
        Ok((task, self.backend(store)?.clone()))
    }

    /// An answer that a store which may have to wait gives at once, counted as any other; `None`: it has to be asked.
    pub(super) fn known(&self, bucket: u32, key: &str) -> Option<Result<Option<Bytes>, Error>> {
        // What is too long to be a key is in no store, and the way to the error is the other one.
        let answer = self.access.backend(bucket).filter(|_| key.len() <= MAX_KEY_BYTES)?.known(key)?;
        Some(self.stats.observe(Operation::Get, || answer))
    }

    /// The same for whether there is a value.
    pub(super) fn known_exists(&self, bucket: u32, key: &str) -> Option<Result<bool, Error>> {
        let answer = self.access.backend(bucket).filter(|_| key.len() <= MAX_KEY_BYTES)?.known(key)?;
        Some(self.stats.observe(Operation::Exists, || answer.map(|value| value.is_some())))
    }

    /// The same for many keys.
    pub(super) fn known_many(&self, bucket: u32, keys: &[String]) -> Option<Result<Pairs, Error>> {
        let answer = self.access.backend(bucket).filter(|_| check_keys(keys).is_ok())?.known_many(keys)?;
        Some(self.stats.observe(Operation::GetMany, || Ok(answer)))
    }

    /// The one place where an operation meets its store: counted, its keys checked before.
    fn run<R>(
        &self,
        operation: Operation,
        store: u32,
        check: Result<(), Error>,
        call: impl FnOnce(&dyn Store) -> Result<R, Error>,
    ) -> Trapping<R> {
        let store = self.store(store)?;
        Ok(self.stats.observe(operation, || check.and_then(|()| call(store))))
    }

    pub(super) fn open(&self, name: &str) -> Result<Resource<Bucket>, Error> {
        self.stats.observe(Operation::Open, || self.access.open(name).map(Resource::new_own))
    }

    pub(super) fn get(&self, bucket: &Resource<Bucket>, key: &str) -> Trapping<Option<Bytes>> {
        self.run(Operation::Get, bucket.rep(), check_key(key), |store| store.get(key))
    }

    pub(super) fn set(&self, bucket: &Resource<Bucket>, key: &str, value: &[u8]) -> Trapping<()> {
        let check = check_key(key).and_then(|()| check_value(key, value));
        self.run(Operation::Set, bucket.rep(), check, |store| store.set(key, Bytes::copy_from_slice(value)))
    }

    pub(super) fn delete(&self, bucket: &Resource<Bucket>, key: &str) -> Trapping<()> {
        self.run(Operation::Delete, bucket.rep(), check_key(key), |store| store.delete(key))
    }

    pub(super) fn exists(&self, bucket: &Resource<Bucket>, key: &str) -> Trapping<bool> {
        self.run(Operation::Exists, bucket.rep(), check_key(key), |store| store.exists(key))
    }

    pub(super) fn list_keys(&self, bucket: &Resource<Bucket>, cursor: Option<&str>) -> Trapping<KeyPage> {
        self.run(Operation::ListKeys, bucket.rep(), Ok(()), |store| store.list_keys(cursor))
    }

    pub(super) fn increment(&self, bucket: &Resource<Bucket>, key: &str, delta: i64) -> Trapping<i64> {
        self.run(Operation::Increment, bucket.rep(), check_key(key), |store| store.increment(key, delta))
    }

    pub(super) fn get_many(
        &self,
        bucket: &Resource<Bucket>,
        keys: Vec<String>,
    ) -> Trapping<Vec<(String, Option<Bytes>)>> {
        self.run(Operation::GetMany, bucket.rep(), check_keys(&keys), |store| store.get_many(keys))
    }

    pub(super) fn set_many(&self, bucket: &Resource<Bucket>, pairs: Vec<(String, Bytes)>) -> Trapping<()> {
        let check = check_pairs(&pairs);
        self.run(Operation::SetMany, bucket.rep(), check, |store| store.set_many(pairs))
    }

    pub(super) fn delete_many(&self, bucket: &Resource<Bucket>, keys: Vec<String>) -> Trapping<()> {
        self.run(Operation::DeleteMany, bucket.rep(), check_keys(&keys), |store| store.delete_many(keys))
    }

    /// Keeps a compare-and-swap that has begun.
    pub(super) fn cas_push(&self, cas: Cas) -> Result<Resource<Cas>, Error> {
        self.cas.borrow_mut().push(cas)
    }

    /// Takes one that is to end.
    pub(super) fn cas_take(&self, cas: Resource<Cas>) -> wasmtime::Result<Cas> {
        self.cas.borrow_mut().delete(cas)
    }

    pub(super) fn cas_new(&self, bucket: &Resource<Bucket>, key: &str) -> Trapping<Resource<Cas>> {
        self.run(Operation::CasNew, bucket.rep(), check_key(key), |store| {
            let seen = store.snapshot(key)?;
            self.cas_push(Cas { store: bucket.rep(), key: key.into(), seen })
        })
    }

    /// The store of one that has begun.
    pub(super) fn cas_store(&self, cas: &Resource<Cas>) -> wasmtime::Result<u32> {
        Ok(self.cas.borrow().handles.get(cas)?.store)
    }

    pub(super) fn cas_current(&self, cas: &Resource<Cas>) -> wasmtime::Result<Option<Bytes>> {
        Ok(self.cas.borrow().handles.get(cas)?.seen.value.clone())
    }

    pub(super) fn swap(&self, cas: Resource<Cas>, value: &[u8]) -> wasmtime::Result<Result<(), CasError>> {
        let cas = self.cas_take(cas)?;
        let swapped = self.run(Operation::Swap, cas.store, check_value(&cas.key, value), |store| {
            store.swap(&cas.key, &cas.seen, Bytes::copy_from_slice(value))
        })?;
        Ok(self.swapped(cas, swapped))
    }

    /// What the guest gets of a swap's end; a lost one begins the next.
    pub(super) fn swapped(&self, cas: Cas, swapped: Result<Swap, Error>) -> Result<(), CasError> {
        match swapped {
            Ok(Swap::Done) => Ok(()),
            Ok(Swap::Stale(seen)) => {
                Err(self.cas_push(Cas { seen, ..cas }).map_or_else(CasError::Store, CasError::Failed))
            }
            Err(error) => Err(CasError::Store(error)),
        }
    }

    pub(super) fn cas_drop(&self, rep: u32) -> wasmtime::Result<()> {
        self.cas_take(Resource::new_own(rep))?;
        Ok(())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("access", &self.access).finish_non_exhaustive()
    }
}

/// A call that may have to wait. It holds nothing of the instance, which must not be borrowed meanwhile.
pub(super) struct Task {
    operation: Operation,
    stats: Arc<Stats>,
    on_wait: OnWait,
    span: Option<KeyValueSpan>,
}

impl Task {
    /// Counts `call`, and makes it unless its arguments are wrong.
    pub(super) async fn run<R>(
        mut self,
        check: Result<(), Error>,
        call: impl Future<Output = Result<R, Error>>,
    ) -> Result<R, Error> {
        let call = async {
            check?;
            let mut call = pin!(call);
            if let Poll::Ready(result) = futures::poll!(call.as_mut()) {
                return result;
            }
            let _standstill = Standstill::begin(&self.on_wait);
            call.await
        };
        let result = self.stats.observe_waiting(self.operation, call).await;
        if let (Err(_), Some(span)) = (&result, &mut self.span) {
            span.set_failed();
        }
        result
    }
}

/// Ends also when the call is given up.
struct Standstill<'a>(&'a OnWait);

impl<'a> Standstill<'a> {
    fn begin(on_wait: &'a OnWait) -> Self {
        on_wait(true);
        Self(on_wait)
    }
}

impl Drop for Standstill<'_> {
    fn drop(&mut self) {
        (self.0)(false);
    }
}

impl CasTable {
    fn push(&mut self, cas: Cas) -> Result<Resource<Cas>, Error> {
        let pinned = self.pinned_bytes + cas.pinned_bytes();
        if pinned > MAX_CAS_BYTES {
            return Err(Error::other(format_args!(
                "open cas handles would keep {pinned} bytes, over the limit of {MAX_CAS_BYTES}"
            )));
        }
        let handle = self
            .handles
            .push(cas)
            .map_err(|_| Error::other(format_args!("over {MAX_CAS_HANDLES} cas handles are open")))?;
        self.pinned_bytes = pinned;
        Ok(handle)
    }

    fn delete(&mut self, cas: Resource<Cas>) -> wasmtime::Result<Cas> {
        let cas = self.handles.delete(cas)?;
        self.pinned_bytes -= cas.pinned_bytes();
        Ok(cas)
    }
}

pub(super) fn check_key(key: &str) -> Result<(), Error> {
    if key.len() <= MAX_KEY_BYTES {
        return Ok(());
    }
    let start: String = key.chars().take(32).collect();
    Err(Error::other(format_args!(
        "key {start:?}… has {} bytes, over the limit of {MAX_KEY_BYTES}",
        key.len()
    )))
}

pub(super) fn check_value(key: &str, value: &[u8]) -> Result<(), Error> {
    if value.len() <= MAX_VALUE_BYTES {
        return Ok(());
    }
    Err(Error::other(format_args!(
        "the value of {key:?} has {} bytes, over the limit of {MAX_VALUE_BYTES}",
        value.len()
    )))
}

fn check_batch(keys: usize) -> Result<(), Error> {
    if keys <= MAX_BATCH_KEYS {
        return Ok(());
    }
    Err(Error::other(format_args!("a batch of {keys} keys is over the limit of {MAX_BATCH_KEYS}")))
}

pub(super) fn check_keys(keys: &[String]) -> Result<(), Error> {
    check_batch(keys.len()).and_then(|()| keys.iter().try_for_each(|key| check_key(key)))
}

pub(super) fn check_pairs(pairs: &[(String, Bytes)]) -> Result<(), Error> {
    check_batch(pairs.len()).and_then(|()| {
        pairs.iter().try_for_each(|(key, value)| check_key(key).and_then(|()| check_value(key, value)))
    })
}
