//! Limits of requests, their bodies and connections.

use std::time::Duration;

/// The timeouts of a client's stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamTimeouts {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) write: Duration,
}

/// The limits of a request's body: its size in bytes, and the time between two frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestBodyLimits {
    pub(super) bytes: u64,
    pub(super) idle: Duration,
}

/// The limits of a response's body that the guest is still writing: the total time, and the time between two
/// frames.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseBodyLimits {
    pub(super) total: Duration,
    pub(super) idle: Duration,
}
