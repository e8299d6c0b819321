//! Starts and runs a thread that serves requests.

use std::{sync::Arc, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::mpsc,
    time,
};
use wasi_http_host_application::{Generation, ThreadContext};

use super::{
    Shared, connection,
    worker::{Accepted, DispatchSet, HEARTBEAT_INTERVAL, Worker, WorkerError},
};

/// Starts a thread that serves `generation`. `thread` creates the thread's context from the handle of its runtime.
///
/// # Errors
/// When the system cannot create a thread or an event queue, or a component is granted a store that the thread does
/// not have.
pub fn start(
    shared: Arc<Shared>,
    generation: &Arc<Generation>,
    thread: impl FnOnce(Handle) -> ThreadContext,
) -> Result<Arc<Worker>, WorkerError> {
    let dispatches: Arc<DispatchSet> = Arc::default();
    let on_park = dispatches.clone();
    let runtime =
        Builder::new_current_thread().enable_all().on_thread_park(move || on_park.on_park()).build()?;
    let thread = thread(runtime.handle().clone());
    let (worker, connections) = Worker::new(shared, generation, thread, dispatches)?;
    let this = worker.clone();
    thread::Builder::new()
        .name(format!("worker-{}", worker.number()))
        .spawn(move || runtime.block_on(run(this, connections)))?;
    Ok(worker)
}

async fn run(worker: Arc<Worker>, mut connections: mpsc::Receiver<Accepted>) {
    let mut heartbeat = time::interval(HEARTBEAT_INTERVAL);
    loop {
        tokio::select! {
            accepted = connections.recv() => match accepted {
                Some(accepted) => {
                    tokio::spawn(connection::serve(worker.clone(), accepted));
                }
                // Each worker holds a sender of its own channel, so the channel closes only when the process ends.
                None => return,
            },
            _ = heartbeat.tick() => worker.heartbeat(),
        }
    }
}
