//! A call: one request on its way to an instance, and what comes back.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::channel::oneshot;
use wasmtime_wasi_http::WasiBody;

use super::GuestBody;
use crate::chain::Link;
use crate::telemetry::trace::Origin;

/// One request that waits for an instance to take it.
pub(crate) struct Call {
    pub(crate) request: http::Request<WasiBody>,
    pub(crate) reply: oneshot::Sender<Result<Reply, CallError>>,
    /// When it was put into the queue.
    pub(crate) queued: Instant,
    /// When the head of its response must be there.
    pub(crate) deadline: Instant,
    /// Set where the component may ask others of its application.
    pub(crate) link: Option<Arc<Link>>,
    /// Its place in a trace; none where nobody asks for traces.
    pub(crate) origin: Option<Arc<Origin>>,
}

impl Call {
    /// Nobody waits for the answer any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.reply.is_canceled()
    }
}

/// What an instance answered.
pub(crate) struct Reply {
    pub(crate) head: http::response::Parts,
    pub(crate) content: Content,
}

/// A response's body.
pub(crate) enum Content {
    /// All of it was there with the head.
    Whole(Bytes),
    /// It is still being made.
    Stream(GuestBody),
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CallError {
    /// The instance trapped, by this call or another.
    #[error("the component's instance trapped")]
    Trapped,
    /// There was no answer by the deadline.
    #[error("the component did not answer in time")]
    TimedOut,
    /// No instance could be made, or none became free, by the deadline.
    #[error("no instance became free in time")]
    NoInstance,
    /// The component's start failed.
    #[error("the component cannot be instantiated: {0}")]
    Instantiation(String),
    /// The component returned an error in place of a response.
    #[error("the component answered with the error {code}")]
    ErrorCode {
        /// As `wasi:http` names it.
        code: String,
        /// It blames the component itself, not what it asked.
        internal: bool,
    },
    /// The component's response is none that can be sent.
    #[error("the component's response is invalid: {0}")]
    InvalidResponse(String),
}
