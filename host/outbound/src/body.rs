//! An outbound request in flight, and the body of its response within limits of size and time.

use super::error::Failure;
use super::span::ClientSpan;
use super::stats::{Outcome, Stats};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};
use wasi_http_host_core::Held;
use wasmtime_wasi_http::Error;

/// An outbound request that the policy has allowed, with its permit among the concurrent requests. Dropping the
/// request counts it once, by its outcome, and releases the permit.
pub(super) struct Exchange {
    pub(super) stats: Arc<Stats>,
    pub(super) entry: usize,
    pub(super) outcome: Outcome,
    pub(super) span: Option<Box<ClientSpan>>,
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

/// The body of a response, within limits of size and time.
pub(super) struct ResponseBody {
    /// The body and its request, which holds the connection and the permit. Both are dropped at the deadline.
    pub(super) held: Held<(Incoming, Exchange)>,
    /// Number of bytes that may still arrive.
    pub(super) left: u64,
    pub(super) limit: u64,
    /// The deadline of the whole exchange.
    pub(super) deadline: Instant,
    pub(super) between_bytes: Duration,
    /// Fires at the deadline, or when the next frame is late. The timer is set only while the body waits for a
    /// frame.
    pub(super) timer: Option<Pin<Box<Sleep>>>,
}

impl ResponseBody {
    fn fail(&mut self, failure: Failure) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.held.with(|(_, exchange)| exchange.outcome = failure.outcome);
        Poll::Ready(Some(Err(failure.error)))
    }

    fn late(&self) -> Failure {
        if Instant::now() >= self.deadline {
            Failure::new(Error::HttpResponseTimeout, Outcome::Timeout)
        } else {
            Failure::new(Error::ConnectionReadTimeout, Outcome::Timeout)
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let held = self.held.with(|(body, _)| Pin::new(body).poll_frame(cx));
        let Some(polled) = held else {
            let failure = self.late();
            return self.fail(failure);
        };
        let Poll::Ready(frame) = polled else {
            let due = self.deadline.min(Instant::now() + self.between_bytes);
            let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
            ready!(timer.as_mut().poll(cx));
            let failure = self.late();
            return self.fail(failure);
        };
        self.timer = None;
        // If frames are always ready, the timer is never polled, so check the deadline here.
        if Instant::now() >= self.deadline {
            let failure = self.late();
            return self.fail(failure);
        }
        match frame {
            None => Poll::Ready(None),
            Some(Err(error)) => self.fail((&error).into()),
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                match self.left.checked_sub(bytes) {
                    Some(left) => self.left = left,
                    None => {
                        let error = Error::HttpResponseBodySize(Some(self.limit));
                        return self.fail(Failure::new(error, Outcome::Limit));
                    }
                }
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.held.with(|(body, _)| body.is_end_stream()).unwrap_or_default()
    }

    fn size_hint(&self) -> SizeHint {
        self.held.with(|(body, _)| body.size_hint()).unwrap_or_default()
    }
}
