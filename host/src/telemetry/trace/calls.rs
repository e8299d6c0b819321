//! Which request a component's call belongs to. An instance serves many at once, and what it asks of the host names none of
//! them; but the engine knows the task that asks, and the task is one that a request began.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use wasmtime::{StoreContextMut, component::GuestTaskId};

use super::{Origin, Tracer};
use crate::sync::lock;

/// The requests of one instance.
pub(crate) struct Calls {
    pub(super) tracer: Arc<Tracer>,
    pub(super) component: Arc<str>,
    /// By their tasks. A task may outlive its response, and nobody is told of its end; but the engine uses its number
    /// again, so there are never more of them than the instance had tasks at once.
    tasks: Mutex<BTreeMap<GuestTaskId, Arc<Origin>>>,
    sender: Mutex<Sender>,
}

/// Whose the next outbound request is.
#[derive(Default)]
struct Sender {
    /// Of a service: noted just before it is sent.
    next: Option<Arc<Origin>>,
    /// Of a proxy, which serves one request after the other.
    only: Option<Arc<Origin>>,
}

impl Calls {
    /// For a new instance.
    pub(crate) fn new(tracer: Arc<Tracer>, component: Arc<str>) -> Self {
        Self { tracer, component, tasks: Mutex::default(), sender: Mutex::default() }
    }

    /// A task begins a request, or something that is none.
    pub(crate) fn enter(&self, task: GuestTaskId, origin: Option<Arc<Origin>>) {
        let mut tasks = lock(&self.tasks);
        match origin {
            Some(origin) => drop(tasks.insert(task, origin)),
            None => drop(tasks.remove(&task)),
        }
    }

    /// The same where no other request is served meanwhile.
    pub(crate) fn enter_only(&self, task: GuestTaskId, origin: Option<Arc<Origin>>) {
        lock(&self.sender).only.clone_from(&origin);
        self.enter(task, origin);
    }

    /// Whose task is calling the host.
    pub(super) fn caller<T>(&self, mut store: StoreContextMut<'_, T>) -> Option<Arc<Origin>> {
        // Components within components have tasks of their own, below the one that the request began.
        let task = store.async_call_stack().ok()?.last()?;
        lock(&self.tasks).get(&task).cloned()
    }

    /// Notes whose outbound request comes next.
    pub(crate) fn note_sender<T>(&self, store: StoreContextMut<'_, T>) {
        let caller = self.caller(store);
        lock(&self.sender).next = caller;
    }

    /// Whose outbound request this is, if that is known.
    pub(super) fn sender(&self) -> Option<Arc<Origin>> {
        let mut sender = lock(&self.sender);
        sender.next.take().or_else(|| sender.only.clone())
    }
}
