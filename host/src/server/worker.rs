//! A thread that serves connections: its runtime, its instances, its metrics. Nothing that a request touches is
//! shared between threads but the count of places.

use std::{
    io,
    net::TcpStream,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::{OwnedSemaphorePermit, mpsc},
    time,
};

use super::{Shared, connection};
use crate::{service::Dispatch, telemetry::WorkerMetrics};

/// Connections that may wait for their thread: it is one turn of its loop behind at most.
const INBOX: usize = 1024;
/// How often a thread shows that it turns.
const BEAT: Duration = Duration::from_secs(1);

/// One thread and what belongs to it.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) dispatch: Arc<Dispatch>,
    pub(crate) metrics: Arc<WorkerMetrics>,
    inbox: mpsc::Sender<Accepted>,
    started: Instant,
    /// Milliseconds from the start to the last beat.
    beat_ms: AtomicU64,
}

/// A connection on its way from the listener to its thread.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) place: OwnedSemaphorePermit,
}

impl Worker {
    /// Starts a thread. `dispatch` is given its runtime's handle, and makes what is to live there.
    ///
    /// # Errors
    /// When the system refuses a thread or its event queue.
    pub(crate) fn start(
        at: usize,
        shared: Arc<Shared>,
        dispatch: impl FnOnce(Handle, Arc<WorkerMetrics>) -> Arc<Dispatch>,
    ) -> io::Result<Arc<Self>> {
        let parked: Arc<OnceLock<Arc<Dispatch>>> = Arc::default();
        let on_park = parked.clone();
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || {
                if let Some(dispatch) = on_park.get() {
                    dispatch.on_park();
                }
            })
            .build()?;
        let metrics = shared.metrics.worker();
        let dispatch = dispatch(runtime.handle().clone(), metrics.clone());
        // Set once, here.
        let _ = parked.set(dispatch.clone());
        let (inbox, connections) = mpsc::channel(INBOX);
        let worker = Arc::new(Self {
            shared,
            dispatch,
            metrics,
            inbox,
            started: Instant::now(),
            beat_ms: AtomicU64::new(0),
        });
        let this = worker.clone();
        thread::Builder::new()
            .name(format!("worker-{at}"))
            .spawn(move || runtime.block_on(this.run(connections)))?;
        Ok(worker)
    }

    async fn run(self: Arc<Self>, mut connections: mpsc::Receiver<Accepted>) {
        tokio::spawn(self.dispatch.clone().supervise());
        let mut beat = time::interval(BEAT);
        loop {
            tokio::select! {
                accepted = connections.recv() => match accepted {
                    Some(accepted) => {
                        tokio::spawn(connection::serve(self.clone(), accepted));
                    }
                    // Each worker holds a sender of its own inbox, so this is the process's end.
                    None => return,
                },
                _ = beat.tick() => {
                    let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    self.beat_ms.store(ms, Ordering::Relaxed);
                }
            }
        }
    }

    /// Gives a connection to the thread. One that has no room is closed: its thread does not turn.
    pub(super) fn give(&self, accepted: Accepted) {
        self.metrics.connections.inc();
        if self.inbox.try_send(accepted).is_err() {
            self.metrics.connections.dec();
            self.shared.metrics.accept_errors.inc();
        }
    }

    /// How long the thread has not shown that it turns.
    pub(crate) fn silent_for(&self) -> Duration {
        let beat = Duration::from_millis(self.beat_ms.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(beat)
    }
}
