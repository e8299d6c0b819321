//! A call: one request on its way to an instance, and what comes back.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::channel::oneshot;
use wasmtime_wasi_http::WasiBody;

use wasi_http_host_telemetry::trace::Origin;

use super::body::GuestBody;
use crate::cause::Cause;

/// One request that waits for an instance to take it.
pub struct Call {
    /// What is asked.
    pub request: http::Request<WasiBody>,
    /// Where the answer goes. Dropped without one when the instance broke down.
    pub reply: oneshot::Sender<Result<Reply, CallError>>,
    /// When it was put into the queue.
    pub queued: Instant,
    /// When the head of its response must be there.
    pub deadline: Instant,
    /// Set where the component may ask others of its application.
    pub cause: Option<Arc<Cause>>,
    /// Its place in a trace; none where nobody asks for traces.
    pub origin: Option<Arc<Origin>>,
}

impl Call {
    /// Nobody waits for the answer any more.
    pub fn is_abandoned(&self) -> bool {
        self.reply.is_canceled()
    }
}

/// What an instance answered.
pub struct Reply {
    /// Status and headers.
    pub head: http::response::Parts,
    /// The body.
    pub content: Content,
}

/// A response's body.
pub enum Content {
    /// All of it was there with the head.
    Whole(Bytes),
    /// It is still being made.
    Stream(GuestBody),
}

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
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
