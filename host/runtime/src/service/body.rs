//! The body of a response that an instance is still writing.

use std::{
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use wasmtime_wasi_http::{Error, WasiBody};

use wasi_http_host_core::lock;

/// What an instance and the bodies that it writes know of each other.
#[derive(Default)]
pub(crate) struct BodyTracker {
    failed: AtomicBool,
    /// The guest will not run again: what it has not written by now never comes.
    silent: AtomicBool,
    open: AtomicUsize,
    instance: Mutex<Option<Waker>>,
    /// Who waits for what a proxy writes.
    reader: Mutex<Option<Waker>>,
}

impl BodyTracker {
    /// The instance is about to go, and its bodies end in the middle.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// A proxy has returned from its last call. A body that it has not finished is incomplete, and whoever reads it
    /// would wait for nothing.
    pub(super) fn fall_silent(&self) {
        if !self.silent.swap(true, Ordering::AcqRel)
            && let Some(waker) = lock(&self.reader).take()
        {
            waker.wake();
        }
    }

    /// Whether there is nothing left to wait for; if there is, `waker` is woken when that changes.
    fn is_silent(&self, waker: &Waker) -> bool {
        if !self.silent.load(Ordering::Acquire) {
            *lock(&self.reader) = Some(waker.clone());
        }
        // Looked at again: it may have fallen silent before the waker was in place.
        self.silent.load(Ordering::Acquire)
    }

    /// Whether somebody still reads a body.
    pub(super) fn has_readers(&self) -> bool {
        self.open.load(Ordering::Acquire) != 0
    }

    /// Whether somebody still reads a body; if so, `waker` is woken when the last one is closed.
    pub(super) fn is_open(&self, waker: &Waker) -> bool {
        if !self.has_readers() {
            return false;
        }
        *lock(&self.instance) = Some(waker.clone());
        // Looked at again: it may have been closed before the waker was in place.
        self.has_readers()
    }
}

/// A body on its way from an instance. As long as it exists, the instance is kept.
pub struct GuestBody {
    first: Option<Bytes>,
    rest: WasiBody,
    bodies: Arc<BodyTracker>,
    /// Written by a proxy, within its call.
    within_call: bool,
}

impl GuestBody {
    /// A service's body, of which `first` has been read already.
    pub(super) fn new(first: Option<Bytes>, rest: WasiBody, bodies: Arc<BodyTracker>) -> Self {
        bodies.open.fetch_add(1, Ordering::AcqRel);
        Self { first, rest, bodies, within_call: false }
    }

    /// A proxy's body.
    pub(super) fn of_proxy(rest: WasiBody, bodies: Arc<BodyTracker>) -> Self {
        let mut body = Self::new(None, rest, bodies);
        body.within_call = true;
        body
    }
}

impl Drop for GuestBody {
    fn drop(&mut self) {
        if self.bodies.open.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(waker) = lock(&self.bodies.instance).take()
        {
            waker.wake();
        }
    }
}

impl Body for GuestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        // Before the look at the body: what was written before the guest fell silent is seen then.
        let silent = self.within_call && self.bodies.is_silent(cx.waker());
        match Pin::new(&mut self.rest).poll_frame(cx) {
            Poll::Pending if silent => Poll::Ready(Some(Err(Error::HttpResponseIncomplete))),
            // When an instance is dropped its streams just end. Without a length to compare with, a body that is
            // cut off would look complete.
            Poll::Ready(None) if self.bodies.failed.load(Ordering::Acquire) => {
                Poll::Ready(Some(Err(Error::HttpResponseIncomplete)))
            }
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream() && !self.bodies.failed.load(Ordering::Acquire)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.size_hint();
        match &self.first {
            None => rest,
            Some(first) => {
                let more = first.len() as u64;
                let mut hint = SizeHint::new();
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper.saturating_add(more));
                }
                hint.set_lower(rest.lower().saturating_add(more));
                hint
            }
        }
    }
}
