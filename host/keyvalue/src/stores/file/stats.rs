//! What is counted of a file.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{SystemTime, UNIX_EPOCH},
};

use wasi_http_host_core::Counter;

use crate::Samples;

#[derive(Default)]
pub(super) struct FileStats {
    pub(super) flushes: Counter,
    pub(super) failures: Counter,
    file_bytes: AtomicU64,
    /// Milliseconds since 1970: what was acknowledged before is in the file.
    durable_ms: AtomicU64,
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

impl FileStats {
    /// The file has been loaded.
    pub(super) fn opened(&self, now_ms: u64, file_bytes: u64) {
        self.file_bytes.store(file_bytes, Relaxed);
        self.durable_ms.store(now_ms, Relaxed);
    }

    /// A transaction is complete. It holds all that was acknowledged before `since_ms`.
    pub(super) fn flushed(&self, since_ms: u64, file_bytes: u64) {
        self.flushes.inc();
        self.file_bytes.store(file_bytes, Relaxed);
        self.durable_ms.store(since_ms, Relaxed);
    }

    /// Adds the metrics. `clean_since_ms` is a moment up to which all is in the file, where nothing waits to be written.
    #[expect(clippy::cast_precision_loss, reason = "the format of metrics has floating-point numbers only")]
    pub(super) fn measure(&self, store: &str, clean_since_ms: Option<u64>, samples: &mut Samples) {
        let labels = [("store", store)];
        let flushes = "Transactions that wrote changes to the store's file.";
        samples.counter("file_flushes_total", flushes, &labels, self.flushes.get());
        let failures =
            "Transactions that failed. Their changes stay in memory, and the store writes them again later.";
        samples.counter("file_flush_failures_total", failures, &labels, self.failures.get());
        let bytes = "Size of the store's file.";
        samples.gauge("file_bytes", bytes, &labels, self.file_bytes.load(Relaxed) as f64);
        let durable = "Unix time. All changes that were acknowledged before this time are in the file.";
        let durable_ms = clean_since_ms.unwrap_or_else(|| self.durable_ms.load(Relaxed));
        samples.gauge("file_durable_timestamp_seconds", durable, &labels, durable_ms as f64 / 1e3);
    }
}
