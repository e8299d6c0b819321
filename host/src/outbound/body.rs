use super::error::Failure;
use super::stats::{Outcome, Stats};
use crate::sync::lock;
use crate::telemetry::trace::ClientSpan;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};
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

/// A response's connection and place, which its body shares with a watch that takes them away at the deadline: a
/// guest that never reads, or forgets what it was given, keeps neither.
pub(super) struct Held {
    shared: Arc<Mutex<Option<(Incoming, Exchange)>>>,
    watch: AbortHandle,
}

impl Held {
    pub(super) fn until(deadline: Instant, body: Incoming, exchange: Exchange) -> Self {
        let shared = Arc::new(Mutex::new(Some((body, exchange))));
        let watched = Arc::clone(&shared);
        let watch = tokio::spawn(async move {
            tokio::time::sleep_until(deadline).await;
            if let Some((_, exchange)) = &mut *lock(&watched) {
                exchange.outcome = Outcome::Timeout;
            }
            drop(lock(&watched).take());
        });
        Self { shared, watch: watch.abort_handle() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.watch.abort();
        // Now, not when the runtime comes to the watch.
        drop(lock(&self.shared).take());
    }
}

/// A response's body within its limits of size and time.
pub(super) struct ResponseBody {
    pub(super) held: Held,
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
        if let Some((_, exchange)) = &mut *lock(&self.held.shared) {
            exchange.outcome = failure.outcome;
        }
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
        let held = lock(&self.held.shared).as_mut().map(|(body, _)| Pin::new(body).poll_frame(cx));
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
        lock(&self.held.shared).as_ref().is_some_and(|(body, _)| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.held.shared).as_ref().map_or_else(SizeHint::default, |(body, _)| body.size_hint())
    }
}
