//! A thread that serves connections, with its runtime, instances and metrics. Threads share nothing that a request
//! touches, except the admission permits.

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

/// Capacity of the channel of connections to a thread. A thread is at most one turn of its event loop behind.
const INBOX: usize = 1024;
/// Interval of a thread's heartbeat.
pub(super) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// The reason why a thread cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A component is granted a store that the thread does not have.
    #[error(transparent)]
    Store(#[from] UnknownStore),
    /// The operating system refused a thread or an event queue.
    #[error("cannot start a thread or an event queue: {0}")]
    System(#[from] io::Error),
}

/// One thread that serves connections.
pub struct Worker {
    /// State that all threads share.
    pub shared: Arc<Shared>,
    /// Number of the thread's open connections.
    pub connections: Arc<Gauge>,
    /// Metrics of requests that match no route.
    pub(super) unrouted: Arc<WorkerMetrics>,
    thread: ThreadContext,
    dispatches: Arc<DispatchSet>,
    inbox: mpsc::Sender<Accepted>,
    started: Instant,
    /// Time of the last heartbeat, in milliseconds since the start.
    heartbeat_ms: AtomicU64,
}

/// All components with instances on a thread: those of the current generation, and those of earlier generations
/// that still finish requests.
#[derive(Default)]
pub(super) struct DispatchSet(Mutex<Vec<Arc<Dispatch>>>);

/// A connection on its way from the listener to a thread.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Worker {
    /// Creates the worker for the context `thread`, and the receiver of its connections. Once it runs, the worker
    /// serves `generation`.
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
            heartbeat_ms: AtomicU64::new(0),
        });
        Ok((worker, connections))
    }

    /// Returns the thread's index among the threads that serve.
    pub(super) fn number(&self) -> usize {
        self.thread.at.0
    }

    /// Returns the component that serves `path`.
    pub(super) fn find(&self, path: &str) -> Option<Arc<Served>> {
        self.thread.current.find(path)
    }

    /// Returns the manifest's route for `path`.
    pub(super) fn route(&self, path: &str) -> Option<String> {
        self.application().route(path)
    }

    /// Returns what the thread serves now.
    pub fn application(&self) -> Arc<ThreadApplication> {
        self.thread.current.get()
    }

    /// Prepares the thread's part of a reload to `generation`. The thread serves it only after [`Next::adopt`].
    ///
    /// # Errors
    /// When a component is granted a store that does not exist.
    pub fn prepare(self: &Arc<Self>, generation: &Arc<Generation>) -> Result<Next, UnknownStore> {
        let before = self.application();
        let application = Arc::new(self.thread.assemble(generation, Some(&before))?);
        Ok(Next { worker: self.clone(), before, application, adopted: false })
    }

    /// Begins the drain: each instance ends once it has no request in flight.
    pub fn drain(&self) {
        for dispatch in lock(&self.dispatches.0).iter() {
            dispatch.drain();
        }
    }

    /// Waits until all instances have ended.
    pub async fn drained(&self) {
        let all = lock(&self.dispatches.0).clone();
        for dispatch in all {
            dispatch.drained().await;
        }
    }

    /// Sends a connection to the thread. A full channel means that the thread hangs; the connection is then closed.
    pub(super) fn assign(&self, accepted: Accepted) {
        self.connections.inc();
        if self.inbox.try_send(accepted).is_err() {
            self.connections.dec();
            self.shared.metrics.accept_errors.inc();
        }
    }

    /// Records a heartbeat of the thread.
    pub(super) fn heartbeat(&self) {
        let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heartbeat_ms.store(ms, Ordering::Relaxed);
    }

    /// Returns the time since the last heartbeat. Liveness depends on this time.
    pub fn since_heartbeat(&self) -> Duration {
        let heartbeat = Duration::from_millis(self.heartbeat_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(heartbeat)
    }
}

impl DispatchSet {
    fn join(&self, application: &ThreadApplication) {
        lock(&self.0).extend(application.served().iter().map(|served| served.dispatch.clone()));
    }

    /// Drains a component that a reload has replaced, and then forgets it.
    async fn retire(self: Arc<Self>, served: Arc<Served>) {
        served.dispatch.drain();
        served.dispatch.drained().await;
        // Requests that arrived before the swap and still wait for admission create new instances.
        while Arc::strong_count(&served) > 1 {
            time::sleep(HEARTBEAT_INTERVAL).await;
            served.dispatch.drained().await;
        }
        lock(&self.0).retain(|member| !Arc::ptr_eq(member, &served.dispatch));
    }

    /// Called when the thread is about to sleep.
    pub(super) fn on_park(&self) {
        for dispatch in lock(&self.0).iter() {
            dispatch.on_park();
        }
    }
}

/// What a thread serves after a reload. Dropping it without [`Next::adopt`] abandons the reload.
pub struct Next {
    worker: Arc<Worker>,
    before: Arc<ThreadApplication>,
    application: Arc<ThreadApplication>,
    adopted: bool,
}

impl Next {
    /// Returns the components that are new in this generation.
    pub fn fresh(&self) -> impl Iterator<Item = &Arc<Served>> {
        only_in(&self.application, &self.before)
    }

    /// Serves the new generation from the next request on. Replaced components finish their requests in flight and
    /// end.
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

/// Returns the components that only `one` has.
fn only_in<'a>(
    one: &'a ThreadApplication,
    other: &'a ThreadApplication,
) -> impl Iterator<Item = &'a Arc<Served>> {
    one.served().iter().filter(|served| !other.served().iter().any(|known| Arc::ptr_eq(known, served)))
}
