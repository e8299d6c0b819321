//! Which request a component's call belongs to. An instance serves many at once, and what it asks of the host names none of
//! them; but the engine knows the task that asks, and the task is one that a request began.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use wasmtime::{StoreContextMut, component::GuestTaskId};

use wasi_http_host_core::lock;

/// What is known of the requests of one instance, by their tasks.
pub(crate) struct Tasks<T> {
    /// A task may outlive its response, and nobody is told of its end; but the engine uses its number again, so there are
    /// never more of them than the instance had tasks at once.
    known: Mutex<BTreeMap<GuestTaskId, Arc<T>>>,
    sender: Mutex<Sender<T>>,
}

/// Whose the next outbound request is.
struct Sender<T> {
    /// Of a service: noted just before it is sent.
    next: Option<Arc<T>>,
    /// Of a proxy, which serves one request after the other.
    only: Option<Arc<T>>,
}

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        Self { known: Mutex::default(), sender: Mutex::new(Sender { next: None, only: None }) }
    }
}

impl<T> Tasks<T> {
    /// A task begins a request, or something that is none.
    pub(crate) fn enter(&self, task: GuestTaskId, request: Option<Arc<T>>) {
        let mut known = lock(&self.known);
        match request {
            Some(request) => drop(known.insert(task, request)),
            None => drop(known.remove(&task)),
        }
    }

    /// The same where no other request is served meanwhile.
    pub(crate) fn enter_only(&self, task: GuestTaskId, request: Option<Arc<T>>) {
        lock(&self.sender).only.clone_from(&request);
        self.enter(task, request);
    }

    /// Whose task is calling the host.
    pub(crate) fn caller<S>(&self, mut store: StoreContextMut<'_, S>) -> Option<Arc<T>> {
        // Components within components have tasks of their own, below the one that the request began.
        let task = store.async_call_stack().ok()?.last()?;
        lock(&self.known).get(&task).cloned()
    }

    /// Notes whose outbound request comes next.
    pub(crate) fn note_sender<S>(&self, store: StoreContextMut<'_, S>) {
        let caller = self.caller(store);
        lock(&self.sender).next = caller;
    }

    /// Whose outbound request this is, if that is known.
    pub(crate) fn sender(&self) -> Option<Arc<T>> {
        let mut sender = lock(&self.sender);
        sender.next.take().or_else(|| sender.only.clone())
    }
}
