//! The drain: the host accepts no further requests, and completes those in flight.

use std::{sync::Arc, time::Duration};

use tokio::time::{sleep, timeout, timeout_at};

use wasi_http_host_server::{Listener, Shared, Worker};
use wasi_http_host_telemetry::trace::Exporting;

use crate::config::Config;

/// How long an idle connection stays open for a request that the client has already sent.
const IDLE_GRACE: Duration = Duration::from_millis(500);

/// The least time for exporting the last spans, even after the drain timeout.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// Stops accepting, and waits for requests, connections and background tasks until the drain timeout.
pub(super) async fn drain(
    config: &Config,
    listener: Listener,
    shared: &Shared,
    workers: &[Arc<Worker>],
    exporting: Option<Exporting>,
) {
    let grace = config.shutdown_grace.get();
    // Load balancers still send requests until they have seen that this host is not ready.
    let _ = timeout(grace, listener.accept()).await;
    shared.close();
    listener.accept_backlog();
    drop(listener);
    tracing::info!("no longer accepting connections");

    let deadline = tokio::time::Instant::now() + config.drain_timeout.get();
    // From now on each response closes its connection. Requests that clients have already sent are still answered
    // before idle connections are closed.
    let closed =
        timeout_at(deadline.min(tokio::time::Instant::now() + IDLE_GRACE), shared.all_closed()).await;
    shared.close_idle_connections();
    if closed.is_err() && timeout_at(deadline, shared.all_closed()).await.is_err() {
        tracing::warn!("--drain-timeout is over: closing connections with requests in flight");
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
        tracing::warn!("--drain-timeout is over: ending background tasks");
    }
    if let Some(exporting) = exporting {
        // Requests that took until the timeout have spans too.
        exporting.finish(deadline.max(tokio::time::Instant::now() + LAST_SPANS)).await;
    }
    tracing::info!("stopped");
    // Lets the log's last lines be queued before the runtime ends.
    sleep(Duration::ZERO).await;
}
