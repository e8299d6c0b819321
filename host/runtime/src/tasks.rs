//! Finds the request that a component's call belongs to. An instance serves many requests at the same time, and a
//! guest's call to the host does not name its request. The engine knows the calling task, and each task was started
//! for one request (`docs/decisions/0037-the-engine-knows-the-request-of-a-chained-call.md`).

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use wasmtime::{StoreContextMut, component::GuestTaskId};

use wasi_http_host_core::lock;

/// What the host knows about the requests of one instance, by task.
pub(crate) struct Tasks<T> {
    /// A task may outlive its response, and the engine does not report the task's end. The engine reuses task
    /// numbers, so the map never has more entries than the instance had tasks at the same time.
    known: Mutex<BTreeMap<GuestTaskId, Arc<T>>>,
    sender: Mutex<Sender<T>>,
}

/// The request that the next outbound request belongs to.
struct Sender<T> {
    /// For a service: noted just before the outbound request is sent.
    next: Option<Arc<T>>,
    /// For a proxy, which serves one request at a time.
    only: Option<Arc<T>>,
}

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        Self { known: Mutex::default(), sender: Mutex::new(Sender { next: None, only: None }) }
    }
}

impl<T> Tasks<T> {
    /// A task begins. `request` is `None` if the task serves no request that is tracked.
    pub(crate) fn enter(&self, task: GuestTaskId, request: Option<Arc<T>>) {
        let mut known = lock(&self.known);
        match request {
            Some(request) => drop(known.insert(task, request)),
            None => drop(known.remove(&task)),
        }
    }

    /// Like [`Self::enter`], for an instance that serves no other request meanwhile.
    pub(crate) fn enter_only(&self, task: GuestTaskId, request: Option<Arc<T>>) {
        lock(&self.sender).only.clone_from(&request);
        self.enter(task, request);
    }

    /// The request of the task that calls the host.
    pub(crate) fn caller<S>(&self, mut store: StoreContextMut<'_, S>) -> Option<Arc<T>> {
        if lock(&self.known).is_empty() {
            return None;
        }
        // A component inside a component has its own tasks, below the task that the request started.
        let task = store.async_call_stack().ok()?.last()?;
        lock(&self.known).get(&task).cloned()
    }

    /// Notes the request that the next outbound request belongs to.
    pub(crate) fn note_sender<S>(&self, store: StoreContextMut<'_, S>) {
        let caller = self.caller(store);
        lock(&self.sender).next = caller;
    }

    /// The request that this outbound request belongs to. `None` if the host cannot tell.
    pub(crate) fn sender(&self) -> Option<Arc<T>> {
        let mut sender = lock(&self.sender);
        sender.next.take().or_else(|| sender.only.clone())
    }
}
