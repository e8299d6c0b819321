//! A response body that an instance is still writing.

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

use wasi_http_host_core::{add_to_hint, lock};

/// State that an instance shares with the response bodies that it writes.
#[derive(Default)]
pub(crate) struct BodyTracker {
    failed: AtomicBool,
    open: AtomicUsize,
    instance: Mutex<Option<Waker>>,
}

impl BodyTracker {
    /// The instance is about to be dropped, and its open bodies are incomplete.
    pub(super) fn fail(&self) {
        self.failed.store(true, Ordering::Release);
    }

    /// Whether anybody still reads a body.
    pub(super) fn has_readers(&self) -> bool {
        self.open.load(Ordering::Acquire) != 0
    }

    /// Whether anybody still reads a body. If so, `waker` is woken when the last body is closed.
    pub(super) fn is_open(&self, waker: &Waker) -> bool {
        if !self.has_readers() {
            return false;
        }
        *lock(&self.instance) = Some(waker.clone());
        // Check again: the last body may have been closed before the waker was stored.
        self.has_readers()
    }
}

/// The call of a proxy, which writes its response body until the call returns.
#[derive(Default)]
pub(super) struct WritingCall {
    /// The call has returned, so a body that is incomplete now stays incomplete.
    returned: AtomicBool,
    /// Wakes the reader of the body when the call returns.
    reader: Mutex<Option<Waker>>,
}

impl WritingCall {
    /// The call has returned. The reader of a body that is incomplete must not wait for more.
    pub(super) fn end(&self) {
        if !self.returned.swap(true, Ordering::AcqRel)
            && let Some(waker) = lock(&self.reader).take()
        {
            waker.wake();
        }
    }

    /// Whether the call has returned. If not, `waker` is woken when it does.
    fn has_ended(&self, waker: &Waker) -> bool {
        if !self.returned.load(Ordering::Acquire) {
            *lock(&self.reader) = Some(waker.clone());
        }
        // Check again: the call may have returned before the waker was stored.
        self.returned.load(Ordering::Acquire)
    }
}

/// A response body from an instance. The instance stays alive for as long as the body exists.
pub struct GuestBody {
    first: Option<Bytes>,
    rest: WasiBody,
    bodies: Arc<BodyTracker>,
    /// A proxy writes the body within this call. `None` for a service.
    call: Option<Arc<WritingCall>>,
}

impl GuestBody {
    /// A service's body, of which `first` has been read already.
    pub(super) fn new(first: Option<Bytes>, rest: WasiBody, bodies: Arc<BodyTracker>) -> Self {
        bodies.open.fetch_add(1, Ordering::AcqRel);
        Self { first, rest, bodies, call: None }
    }

    /// A proxy's body, which the proxy writes within `call`.
    pub(super) fn of_proxy(rest: WasiBody, bodies: Arc<BodyTracker>, call: Arc<WritingCall>) -> Self {
        let mut body = Self::new(None, rest, bodies);
        body.call = Some(call);
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
        // Check before polling the body, so that the poll sees everything that the guest wrote before it returned.
        let returned = self.call.as_ref().is_some_and(|call| call.has_ended(cx.waker()));
        match Pin::new(&mut self.rest).poll_frame(cx) {
            Poll::Pending if returned => Poll::Ready(Some(Err(Error::HttpResponseIncomplete))),
            // When an instance is dropped, its streams end without an error. A body without a content length would
            // look complete.
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
        add_to_hint(self.rest.size_hint(), self.first.as_ref().map_or(0, Bytes::len))
    }
}
