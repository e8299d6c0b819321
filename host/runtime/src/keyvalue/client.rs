//! What an instance holds of `wasi:keyvalue`.

use std::{cell::RefCell, fmt, sync::Arc};

use bytes::Bytes;
use wasi_http_host_keyvalue::{
    Access, Error, KeyValueSpan, MAX_VALUE_BYTES, Operation, Snapshot, Stats, Store,
};
use wasmtime::{
    AsContextMut as _, StoreContextMut,
    component::{Resource, ResourceTable},
};

use crate::traced::TracedTasks;

/// Most compare-and-swap handles that an instance has at once.
const MAX_CAS_HANDLES: usize = 1024;

/// Most bytes of keys and values that the compare-and-swap handles of an instance keep in memory.
pub(crate) const MAX_CAS_BYTES: usize = 2 * MAX_VALUE_BYTES;

/// `bucket`: its representation is the index of the store in [`Access`], so that opening one allocates nothing.
pub(super) struct Bucket;

/// `cas`: a compare-and-swap that has begun.
pub(super) struct Cas {
    /// The index of the store in [`Access`].
    pub(super) bucket: u32,
    pub(super) key: Box<str>,
    pub(super) seen: Snapshot,
}

impl Cas {
    fn pinned_bytes(&self) -> usize {
        self.key.len() + self.seen.value.as_ref().map_or(0, Bytes::len)
    }
}

/// Called when an instance begins (`true`) and ends (`false`) to wait for a store: it serves no other call meanwhile.
pub(crate) type OnWait = Arc<dyn Fn(bool) + Send + Sync>;

/// What an instance holds of `wasi:keyvalue`. It is part of the data of the wasmtime store. A guest calls from one thread at a time.
pub(crate) struct Client {
    access: Access,
    pub(super) stats: Arc<Stats>,
    cas: RefCell<CasTable>,
    pub(super) on_wait: OnWait,
    traced: Option<Arc<TracedTasks>>,
}

#[derive(Debug)]
struct CasTable {
    handles: ResourceTable,
    pinned_bytes: usize,
    max_bytes: usize,
}

impl Client {
    /// A client with the access of its component. All instances of a thread share `stats`.
    #[must_use]
    pub(crate) fn new(access: Access, stats: Arc<Stats>) -> Self {
        let mut handles = ResourceTable::new();
        handles.set_max_capacity(MAX_CAS_HANDLES);
        let cas = RefCell::new(CasTable { handles, pinned_bytes: 0, max_bytes: MAX_CAS_BYTES });
        Self { access, stats, cas, on_wait: Arc::new(|_| {}), traced: None }
    }

    /// The same client, whose compare-and-swap handles keep at most this many bytes.
    pub(crate) fn at_most(self, bytes: usize) -> Self {
        self.cas.borrow_mut().max_bytes = bytes.min(MAX_CAS_BYTES);
        self
    }

    /// The bytes that the compare-and-swap handles keep.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.cas.borrow().pinned_bytes
    }

    /// The same client, with a function that it calls when it waits.
    pub(crate) fn on_wait(self, on_wait: OnWait) -> Self {
        Self { on_wait, ..self }
    }

    /// The same client, with spans for the operations of traced requests.
    pub(crate) fn traced(self, traced: Option<Arc<TracedTasks>>) -> Self {
        Self { traced, ..self }
    }

    /// Opens a store by its name.
    pub(super) fn open(&self, name: &str) -> Result<Resource<Bucket>, Error> {
        let running = self.stats.begin(Operation::Open);
        let opened = self.access.open(name).map(Resource::new_own);
        self.stats.end(running, &opened);
        opened
    }

    /// The store behind a bucket.
    pub(super) fn store(&self, bucket: u32) -> wasmtime::Result<&dyn Store> {
        self.access.store(bucket).ok_or_else(|| wasmtime::format_err!("the bucket {bucket} has no store"))
    }

    /// Keeps a compare-and-swap that has begun.
    pub(super) fn cas_push(&self, cas: Cas) -> Result<Resource<Cas>, Error> {
        self.cas.borrow_mut().push(cas)
    }

    /// Takes a compare-and-swap that ends.
    pub(super) fn cas_take(&self, cas: Resource<Cas>) -> wasmtime::Result<Cas> {
        self.cas.borrow_mut().delete(cas)
    }

    /// The index of the store that a compare-and-swap is for.
    pub(super) fn cas_bucket(&self, cas: &Resource<Cas>) -> wasmtime::Result<u32> {
        Ok(self.cas.borrow().handles.get(cas)?.bucket)
    }

    /// The value that it began with.
    pub(super) fn cas_current(&self, cas: &Resource<Cas>) -> wasmtime::Result<Option<Bytes>> {
        Ok(self.cas.borrow().handles.get(cas)?.seen.value.clone())
    }
}

/// Begins the span of an operation; `None` where its request is not traced.
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

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("access", &self.access).finish_non_exhaustive()
    }
}

impl CasTable {
    fn push(&mut self, cas: Cas) -> Result<Resource<Cas>, Error> {
        let pinned = self.pinned_bytes + cas.pinned_bytes();
        if pinned > self.max_bytes {
            let limit = self.max_bytes;
            return Err(Error::other(format_args!(
                "open cas handles would keep {pinned} bytes, over the limit of {limit}"
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
