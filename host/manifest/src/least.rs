//! Limits below which nothing could ever work, whoever sets them.

use wasi_http_host_core::{ByteSize, Period};

/// The least that an instance may be bounded to: one page of WebAssembly.
pub const LEAST_MEMORY: ByteSize = ByteSize::kib(64);
/// The least time for a request: a guest is looked at every few milliseconds.
pub const LEAST_REQUEST_TIMEOUT: Period = Period::millis(10);
