//! What bounds requests, their bodies, and connections.

use std::time::Duration;

/// How long a stream may stand still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) head: Duration,
    pub(super) idle: Duration,
    pub(super) write: Duration,
}

/// Limits on a request's body.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestBodyLimits {
    pub(super) bytes: u64,
    pub(super) idle: Duration,
}

/// Limits on a body that is still being made.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseBodyLimits {
    pub(super) total: Duration,
    pub(super) idle: Duration,
}
