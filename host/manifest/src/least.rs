//! Lower bounds of limits. A component cannot work below them, so the flags and the manifest are both checked.

use wasi_http_host_core::{ByteSize, Period};

/// The smallest memory limit of an instance: one page of WebAssembly.
pub const LEAST_MEMORY: ByteSize = ByteSize::kib(64);
/// The shortest request timeout. The watchdog checks a guest only every few milliseconds.
pub const LEAST_REQUEST_TIMEOUT: Period = Period::millis(10);
