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

/// One outbound request, from the moment that it was let through: counted once, when this is dropped, and holding
/// its place among the concurrent ones till then.
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

/// A response's body within its limits of size and time.
pub(super) struct ResponseBody {
    /// The response's connection, and its place among the concurrent ones.
    pub(super) held: Held<(Incoming, Exchange)>,
    /// Bytes that may still come.
    pub(super) left: u64,
    pub(super) limit: u64,
    /// When the whole exchange has to be over.
    pub(super) deadline: Instant,
    pub(super) between_bytes: Duration,
    /// Fires at the deadline, or when a frame is late; set while one is waited for.
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
        // A source that is always ready would never meet the timer.
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
