//! A thread that serves: its start, and what it does all its life.

use std::{sync::Arc, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::mpsc,
    time,
};
use wasi_http_host_application::{Generation, ThreadContext};

use super::{
    Shared, connection,
    worker::{Accepted, BEAT, DispatchSet, Worker, WorkerError},
};

/// Starts a thread that serves `generation`. `thread` is given its runtime's handle.
///
/// # Errors
/// When the system refuses a thread or its event queue, or the thread lacks a store that a component is granted.
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
    let mut beat = time::interval(BEAT);
    loop {
        tokio::select! {
            accepted = connections.recv() => match accepted {
                Some(accepted) => {
                    tokio::spawn(connection::serve(worker.clone(), accepted));
                }
                // Each worker holds a sender of its own inbox, so this is the process's end.
                None => return,
            },
            _ = beat.tick() => worker.beat(),
        }
    }
}
