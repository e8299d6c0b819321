//! A thread that serves connections: its runtime, its instances, its metrics. Nothing that a request touches is
//! shared between threads but the count of places.

use std::{
    io,
    net::TcpStream,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time,
};

use super::shared::Shared;
use wasi_http_host_application::{Generation, Served, ThreadApplication, ThreadContext};
use wasi_http_host_core::{Gauge, lock};
use wasi_http_host_keyvalue::UnknownStore;
use wasi_http_host_runtime::{Dispatch, WorkerMetrics};

/// Connections that may wait for their thread: it is one turn of its loop behind at most.
const INBOX: usize = 1024;
/// How often a thread shows that it turns.
pub(super) const BEAT: Duration = Duration::from_secs(1);

/// A thread cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A component is granted a store that the thread does not have.
    #[error(transparent)]
    Store(#[from] UnknownStore),
    /// The operating system refused it.
    #[error("the system refused a thread or an event queue: {0}")]
    System(#[from] io::Error),
}

/// One thread and what belongs to it.
pub struct Worker {
    /// What it has in common with the other threads.
    pub shared: Arc<Shared>,
    /// Open connections.
    pub connections: Arc<Gauge>,
    /// What is counted of requests that are no component's.
    pub(super) unrouted: Arc<WorkerMetrics>,
    thread: ThreadContext,
    dispatches: Arc<DispatchSet>,
    inbox: mpsc::Sender<Accepted>,
    started: Instant,
    /// Milliseconds from the start to the last beat.
    beat_ms: AtomicU64,
}

/// All that has instances on a thread: what is served, and what finishes its requests.
#[derive(Default)]
pub(super) struct DispatchSet(Mutex<Vec<Arc<Dispatch>>>);

/// A connection on its way from the listener to its thread.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) place: OwnedSemaphorePermit,
}

impl Worker {
    /// The thread that `thread` belongs to, and the connections that it is given. It serves `generation` once it runs.
    ///
    /// # Errors
    /// When a component is granted a store that the thread does not have.
    pub(super) fn new(
        shared: Arc<Shared>,
        generation: &Arc<Generation>,
        thread: ThreadContext,
        dispatches: Arc<DispatchSet>,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Accepted>), UnknownStore> {
        let application = thread.assemble(generation, None)?;
        dispatches.join(&application);
        thread.current.set(Arc::new(application));
        let (inbox, connections) = mpsc::channel(INBOX);
        let worker = Arc::new(Self {
            connections: shared.metrics.thread(),
            unrouted: shared.unrouted.worker(thread.at.0),
            shared,
            thread,
            dispatches,
            inbox,
            started: Instant::now(),
            beat_ms: AtomicU64::new(0),
        });
        Ok((worker, connections))
    }

    /// Its number among the threads that serve.
    pub(super) fn number(&self) -> usize {
        self.thread.at.0
    }

    /// The component that a request for `path` is for.
    pub(super) fn find(&self, path: &str) -> Option<Arc<Served>> {
        self.thread.current.find(path)
    }

    /// The route that a request for `path` takes.
    pub(super) fn route(&self, path: &str) -> Option<String> {
        self.application().route(path)
    }

    /// What the thread serves now.
    pub fn application(&self) -> Arc<ThreadApplication> {
        self.thread.current.get()
    }

    /// Makes ready what the thread is to serve of `generation`.
    ///
    /// # Errors
    /// When a component is granted a store that there is not.
    pub fn prepare(self: &Arc<Self>, generation: &Arc<Generation>) -> Result<Next, UnknownStore> {
        let before = self.application();
        let application = Arc::new(self.thread.assemble(generation, Some(&before))?);
        Ok(Next { worker: self.clone(), before, application, adopted: false })
    }

    /// Instances go when they have nothing to do.
    pub fn drain(&self) {
        for dispatch in lock(&self.dispatches.0).iter() {
            dispatch.drain();
        }
    }

    /// Waits until no instance is left.
    pub async fn drained(&self) {
        let all = lock(&self.dispatches.0).clone();
        for dispatch in all {
            dispatch.drained().await;
        }
    }

    /// Gives a connection to the thread. One that has no room is closed: its thread does not turn.
    pub(super) fn give(&self, accepted: Accepted) {
        self.connections.inc();
        if self.inbox.try_send(accepted).is_err() {
            self.connections.dec();
            self.shared.metrics.accept_errors.inc();
        }
    }

    /// The thread shows that it turns.
    pub(super) fn beat(&self) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.beat_ms.store(ms, Ordering::Relaxed);
    }

    /// How long the thread has not shown that it turns.
    pub fn silent_for(&self) -> Duration {
        let beat = Duration::from_millis(self.beat_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(beat)
    }
}

impl DispatchSet {
    fn join(&self, application: &ThreadApplication) {
        lock(&self.0).extend(application.served().iter().map(|served| served.dispatch.clone()));
    }

    /// Waits until nothing of it is left to do.
    async fn retire(self: Arc<Self>, served: Arc<Served>) {
        served.dispatch.drain();
        served.dispatch.drained().await;
        // Requests that were on their way to it before the swap, and wait for a place, still make it instances.
        while Arc::strong_count(&served) > 1 {
            time::sleep(BEAT).await;
            served.dispatch.drained().await;
        }
        lock(&self.0).retain(|member| !Arc::ptr_eq(member, &served.dispatch));
    }

    /// To be called when the thread is about to sleep.
    pub(super) fn on_park(&self) {
        for dispatch in lock(&self.0).iter() {
            dispatch.on_park();
        }
    }
}

/// What a thread is to serve next; given up when dropped.
pub struct Next {
    worker: Arc<Worker>,
    before: Arc<ThreadApplication>,
    application: Arc<ThreadApplication>,
    adopted: bool,
}

impl Next {
    /// What is new in it.
    pub fn fresh(&self) -> impl Iterator<Item = &Arc<Served>> {
        only_in(&self.application, &self.before)
    }

    /// Serves it from the next request on. What it replaces finishes its requests, and goes.
    pub fn adopt(mut self) {
        self.adopted = true;
        let worker = &self.worker;
        lock(&worker.dispatches.0).extend(self.fresh().map(|served| served.dispatch.clone()));
        worker.thread.current.set(self.application.clone());
        for served in only_in(&self.before, &self.application) {
            worker.thread.runtime.spawn(worker.dispatches.clone().retire(served.clone()));
        }
    }
}

impl Drop for Next {
    fn drop(&mut self) {
        if !self.adopted {
            self.fresh().for_each(|served| served.dispatch.drain());
        }
    }
}

/// What one application has and the other has not.
fn only_in<'a>(
    one: &'a ThreadApplication,
    other: &'a ThreadApplication,
) -> impl Iterator<Item = &'a Arc<Served>> {
    one.served().iter().filter(|served| !other.served().iter().any(|known| Arc::ptr_eq(known, served)))
}
