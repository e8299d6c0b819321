//! A call: one request for an instance, and its reply.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use futures::channel::oneshot;
use wasmtime_wasi_http::WasiBody;

use wasi_http_host_core::BoundedError;
use wasi_http_host_telemetry::trace::Origin;

use super::body::GuestBody;
use crate::{admission::Permit, cause::Cause};

/// Sends a call's reply.
pub(super) type ReplySender = oneshot::Sender<Result<Reply, CallError>>;

/// One request that waits in the queue for an instance.
pub struct Call {
    /// The request.
    pub request: http::Request<WasiBody>,
    /// Receives the reply. Dropped without a reply when the instance failed.
    pub reply: oneshot::Sender<Result<Reply, CallError>>,
    /// When the call entered the queue.
    pub queued: Instant,
    /// The time by which the head of the response must be complete.
    pub deadline: Instant,
    /// `None` if the component may not call other components of its application, and the request was not passed on by
    /// another server that marks requests.
    pub cause: Option<Arc<Cause>>,
    /// The request's parent in a trace. `None` if tracing is off.
    pub origin: Option<Arc<Origin>>,
    /// Held until the guest's call has ended, also if the client has left before. `None` for the host's own requests.
    pub permit: Option<Permit>,
}

impl Call {
    /// Whether nobody waits for the reply any more.
    pub fn is_abandoned(&self) -> bool {
        self.reply.is_canceled()
    }
}

/// An instance's response.
pub struct Reply {
    /// Status and headers.
    pub head: http::response::Parts,
    /// The body.
    pub content: Content,
}

/// A response body.
pub enum Content {
    /// The complete body, which was there with the head.
    Whole(Bytes),
    /// A body that the instance is still writing.
    Stream(GuestBody),
}

/// Why a call has no response. Texts of the guest are cut.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// The instance trapped, in this call or in another.
    #[error("the component's instance trapped")]
    Trapped,
    /// The deadline passed before the response's head was complete.
    #[error("the component did not answer in time")]
    TimedOut,
    /// No instance could be created, or none became free, before the deadline.
    #[error("no instance became free in time")]
    NoInstance,
    /// Instantiating the component failed.
    #[error("the component cannot be instantiated: {0}")]
    Instantiation(String),
    /// The component returned an error instead of a response.
    #[error("the component answered with the error {code}")]
    ErrorCode {
        /// The name of the error in `wasi:http`.
        code: String,
        /// Whether the error blames the component itself rather than something that the component called.
        internal: bool,
    },
    /// The component's response is not valid HTTP.
    #[error("the component's response is invalid: {0}")]
    InvalidResponse(String),
}

impl CallError {
    /// The component's response is not valid HTTP, for this reason.
    pub fn invalid_response(reason: impl std::fmt::Display) -> Self {
        Self::InvalidResponse(BoundedError(reason).to_string())
    }

    /// The component returned an error of `wasi:http`.
    pub(super) fn error_code(code: &impl std::fmt::Debug, internal: bool) -> Self {
        Self::ErrorCode { code: BoundedError(format_args!("{code:?}")).to_string(), internal }
    }
}
