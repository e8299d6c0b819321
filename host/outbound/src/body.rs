//! An outbound request in flight, and how the body of its response may fail.

use super::error::Failure;
use super::places::InUse;
use super::span::ClientSpan;
use super::stats::{Outcome, Stats};
use hyper::body::Incoming;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;
use wasi_http_host_core::{BodyFailure, Held};
use wasmtime_wasi_http::Error;

/// An outbound request that the policy has allowed, with its permit among the concurrent requests. Dropping the
/// request counts it once, by its outcome, and releases the permit.
pub(super) struct Exchange {
    pub(super) stats: Arc<Stats>,
    pub(super) entry: usize,
    pub(super) outcome: Outcome,
    pub(super) span: Option<Box<ClientSpan>>,
    /// Keeps the connection from being closed for another one.
    pub(super) in_use: Option<InUse>,
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stats.end(self.entry, self.outcome);
        if let Some(span) = &mut self.span {
            span.set_outcome(self.outcome);
        }
    }
}

/// The body of a response and its request, which holds the connection and the permit. Both are dropped at the deadline
/// of the whole exchange.
pub(super) type OpenResponse = Held<(Incoming, Exchange)>;

/// Records how the body of a response failed, and makes the guest's error.
pub(super) fn body_failed(
    response: &mut OpenResponse,
    failure: BodyFailure<BodyFailure<hyper::Error>>,
) -> Error {
    let failure = match failure.flatten() {
        BodyFailure::Body(error) => (&error).into(),
        BodyFailure::Deadline => Failure::new(Error::HttpResponseTimeout, Outcome::Timeout),
        BodyFailure::Idle => Failure::new(Error::ConnectionReadTimeout, Outcome::Timeout),
        BodyFailure::Size(limit) => Failure::new(Error::HttpResponseBodySize(Some(limit)), Outcome::Limit),
    };
    response.with(|(_, exchange)| exchange.outcome = failure.outcome);
    failure.error
}
