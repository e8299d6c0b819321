//! Metrics of connections.

use std::sync::{Arc, Mutex};

use wasi_http_host_core::{Counter, Exposition, Gauge, lock};

/// Metrics of the main listener's connections.
#[derive(Debug, Default)]
pub struct ConnectionMetrics {
    /// Number of open connections, one gauge for each thread.
    threads: Mutex<Vec<Arc<Gauge>>>,
    pub(crate) accepted: Counter,
    pub(crate) accept_errors: Counter,
    pub(crate) errors: Counter,
}

impl ConnectionMetrics {
    /// Creates the gauge of a new thread.
    pub(crate) fn thread(&self) -> Arc<Gauge> {
        let connections = Arc::new(Gauge::default());
        lock(&self.threads).push(connections.clone());
        connections
    }

    /// Writes all metrics.
    pub fn expose(&self, to: &mut Exposition) {
        let open = lock(&self.threads).iter().map(|connections| connections.get()).sum::<i64>();
        let prefix = "wasi_http_host";
        to.gauge(&format!("{prefix}_connections_open"), "Open connections.", open);
        to.counter(&format!("{prefix}_connections_total"), "Connections accepted.", self.accepted.get());
        to.counter(
            &format!("{prefix}_accept_errors_total"),
            "Failed attempts to accept a connection.",
            self.accept_errors.get(),
        );
        to.counter(
            &format!("{prefix}_connection_errors_total"),
            "Connections that ended with an error: a malformed head, a timeout, too many resets, or a broken \
             connection.",
            self.errors.get(),
        );
    }
}
