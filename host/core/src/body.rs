//! HTTP bodies within limits of size and time.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::Held;

/// The limits of a body. `None`: the body has no such limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct BodyLimits {
    /// Maximum number of bytes of data.
    pub size: Option<u64>,
    /// Maximum time that the body may be pending before its next frame.
    pub idle: Option<Duration>,
    /// When the last frame must have arrived. The end of the body may be read later.
    pub deadline: Option<Instant>,
}

/// Why a [`LimitedBody`] failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFailure<E> {
    /// The body itself failed.
    Body(E),
    /// The body has more bytes of data than this limit.
    Size(u64),
    /// The next frame did not arrive within the idle limit.
    Idle,
    /// The deadline has passed.
    Deadline,
}

impl<E> BodyFailure<BodyFailure<E>> {
    /// The failure of a [`LimitedBody`] around a body that has limits of its own.
    pub fn flatten(self) -> BodyFailure<E> {
        match self {
            Self::Body(inner) => inner,
            Self::Size(limit) => BodyFailure::Size(limit),
            Self::Idle => BodyFailure::Idle,
            Self::Deadline => BodyFailure::Deadline,
        }
    }
}

/// A body within limits. `F` records a failure and makes the error that the reader gets.
///
/// A body whose frames are always ready arms no timer. A body without an idle limit arms one timer, a body with an
/// idle limit arms one timer for each wait.
pub struct LimitedBody<B, F> {
    body: B,
    limits: BodyLimits,
    /// Number of bytes that may still arrive, if the size is limited.
    left: u64,
    /// Set while the body is pending. With a deadline only, the timer stays set, because it stays due then.
    timer: Option<Pin<Box<Sleep>>>,
    fail: F,
}

impl<B: Body, E, F: FnMut(&mut B, BodyFailure<B::Error>) -> E> LimitedBody<B, F> {
    /// Limits `body`. The idle limit begins when the body is first found pending.
    pub fn new(body: B, limits: BodyLimits, fail: F) -> Self {
        Self { body, limits, left: limits.size.unwrap_or(u64::MAX), timer: None, fail }
    }

    fn is_over(&self) -> bool {
        self.limits.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// Waits until the idle limit or the deadline has passed, whichever is first.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<BodyFailure<B::Error>> {
        if self.timer.is_none() {
            let idle = self.limits.idle.map(|idle| Instant::now() + idle);
            self.timer =
                idle.into_iter().chain(self.limits.deadline).min().map(|due| Box::pin(sleep_until(due)));
        }
        let Some(timer) = &mut self.timer else { return Poll::Pending };
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(if self.is_over() { BodyFailure::Deadline } else { BodyFailure::Idle })
    }

    /// Checks a frame that has arrived.
    fn check(&mut self, frame: Result<Frame<Bytes>, B::Error>) -> Result<Frame<Bytes>, BodyFailure<B::Error>>
    where
        B: Body<Data = Bytes>,
    {
        let frame = frame.map_err(BodyFailure::Body)?;
        // If frames are always ready, no timer is polled.
        if self.is_over() {
            return Err(BodyFailure::Deadline);
        }
        if let Some(limit) = self.limits.size {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            self.left = self.left.checked_sub(length).ok_or(BodyFailure::Size(limit))?;
        }
        Ok(frame)
    }
}

impl<B, E, F> Body for LimitedBody<B, F>
where
    B: Body<Data = Bytes> + Unpin,
    F: FnMut(&mut B, BodyFailure<B::Error>) -> E + Unpin,
{
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        let this = &mut *self;
        let checked = match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => Err(ready!(this.poll_late(cx))),
            Poll::Ready(frame) => {
                if this.limits.idle.is_some() {
                    this.timer = None;
                }
                let Some(frame) = frame else { return Poll::Ready(None) };
                this.check(frame)
            }
        };
        Poll::Ready(Some(checked.map_err(|failure| (this.fail)(&mut this.body, failure))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A body that is dropped at a deadline, together with what must live as long as the body. `Held` does not wake the
/// reader at the deadline: a [`LimitedBody`] around it does.
impl<B, T> Body for Held<(B, T)>
where
    B: Body + Unpin + Send + 'static,
    T: Send + 'static,
{
    type Data = B::Data;
    type Error = BodyFailure<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, Self::Error>>> {
        match self.with(|(body, _)| Pin::new(body).poll_frame(cx)) {
            Some(polled) => polled.map_err(BodyFailure::Body),
            None => Poll::Ready(Some(Err(BodyFailure::Deadline))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.with(|(body, _)| body.is_end_stream()).unwrap_or_default()
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|(body, _)| body.size_hint()).unwrap_or_default()
    }
}

/// Adds `bytes` to the size hint of a body, for bytes that were read ahead and come before the body.
#[must_use]
pub fn add_to_hint(mut hint: SizeHint, bytes: usize) -> SizeHint {
    let bytes = bytes as u64;
    // The upper bound first: a hint's lower bound never exceeds the upper bound.
    if let Some(upper) = hint.upper() {
        hint.set_upper(upper.saturating_add(bytes));
    }
    hint.set_lower(hint.lower().saturating_add(bytes));
    hint
}

#[cfg(test)]
mod tests;
