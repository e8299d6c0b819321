//! Limits below which nothing could ever work, whoever sets them.

use super::{ByteSize, Period};

/// The least that an instance may be bounded to: one page of WebAssembly.
pub(crate) const LEAST_MEMORY: ByteSize = ByteSize::kib(64);
/// The least time for a request: a guest is looked at every few milliseconds.
pub(crate) const LEAST_REQUEST_TIMEOUT: Period = Period::millis(10);
