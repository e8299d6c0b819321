//! The end: no further requests, and what is running finishes.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout, timeout_at};

use wasi_http_host_server::{Listener, Shared, Worker};
use wasi_http_host_telemetry::trace::Exporting;

use crate::config::Config;

/// How long clients with an idle connection get to send a request that is on its way, before it is closed.
const LINGER: Duration = Duration::from_millis(500);

/// How long the last spans get when all of the time is over.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// Stops accepting, and waits for requests, connections and background tasks, each within its limit.
pub(super) async fn drain(
    config: &Config,
    listener: Listener,
    shared: &Shared,
    workers: &[Arc<Worker>],
    exporting: Option<Exporting>,
) {
    let grace = config.shutdown_grace.get();
    // Others still send here until they have seen that this host is not ready.
    let _ = timeout(grace, listener.accept()).await;
    shared.close();
    listener.sweep();
    drop(listener);
    tracing::info!("no longer accepting");

    let deadline = tokio::time::Instant::now() + config.drain_timeout.get();
    // Each response is its connection's last now. A request that crossed with one, or that an idle client is just
    // sending, is answered: nobody's connection is closed on the first occasion.
    let lingered = timeout_at(deadline.min(tokio::time::Instant::now() + LINGER), shared.all_closed()).await;
    shared.hang_up();
    if lingered.is_err() && timeout_at(deadline, shared.all_closed()).await.is_err() {
        tracing::warn!("--drain-timeout is over: connections are cut off");
    }
    for worker in workers {
        worker.drain();
    }
    let ended = async {
        for worker in workers {
            worker.drained().await;
        }
    };
    if timeout_at(deadline, ended).await.is_err() {
        tracing::warn!("--drain-timeout is over: background tasks are cut off");
    }
    if let Some(exporting) = exporting {
        // Of requests that took all of the time there are spans too.
        exporting.finish(deadline.max(tokio::time::Instant::now() + LAST_SPANS)).await;
    }
    tracing::info!("stopped");
    // The log's last lines are on their way while the runtime unwinds.
    sleep(Duration::ZERO).await;
}
