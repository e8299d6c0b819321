//! The body of a response on its way to the client. When the body ends, the request ends: the permit is released,
//! the access log line is written, and metrics are counted.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Instant;
use wasmtime_wasi_http::Error;

use super::{exchange::Exchange, limits::ResponseBodyLimits, streams};
use wasi_http_host_core::{BodyFailure, BodyLimits, LimitedBody, add_to_hint};
use wasi_http_host_runtime::{Content, GuestBody};

/// Size of the pieces in which an HTTP/2 connection gets a body: the default maximum size of a frame. The
/// connection takes a whole piece even if the client's window has no room.
const PIECE: usize = 16 << 10;
/// Size of the last piece of a larger frame. The connection takes the last piece only when the client's window has
/// room for all pieces before it. Then the stream is over for the host, and only this many bytes of each stream can
/// still wait without a permit for a client that opens no window.
const TAIL: usize = 1 << 10;

/// The body that hyper holds until the client has received it or has left.
pub(super) struct ServedBody {
    content: Served,
    /// The rest of a frame that is larger than a piece.
    rest: Bytes,
    /// Whether the connection has several streams (HTTP/2).
    multiplexed: bool,
    exchange: Box<Exchange>,
}

enum Served {
    Whole(Bytes),
    Stream(Box<Stream>),
    Ended,
}

/// The body that the guest is still writing, within its limits.
type Stream = LimitedBody<GuestBody, fn(&mut GuestBody, BodyFailure<Error>) -> Error>;

/// The error of a response that breaks off. The client cannot tell which limit the guest has broken.
fn body_failed(_: &mut GuestBody, failure: BodyFailure<Error>) -> Error {
    match failure {
        BodyFailure::Body(error) => error,
        BodyFailure::Size(_) | BodyFailure::Idle | BodyFailure::Deadline => Error::HttpResponseTimeout,
    }
}

impl ServedBody {
    pub(super) fn new(
        content: Content,
        multiplexed: bool,
        exchange: Box<Exchange>,
        limits: ResponseBodyLimits,
    ) -> Self {
        let content = match content {
            Content::Whole(bytes) => Served::Whole(bytes),
            Content::Stream(body) => {
                let deadline = Some(Instant::now() + limits.total);
                let limits = BodyLimits { size: None, idle: Some(limits.idle), deadline };
                Served::Stream(Box::new(LimitedBody::new(body, limits, body_failed)))
            }
        };
        let mut body = Self { content, rest: Bytes::new(), multiplexed, exchange };
        if body.content.is_empty() {
            body.filled();
        }
        if body.content.is_empty() || body.exchange.is_bodiless() {
            body.exchange.complete();
        } else if multiplexed {
            // The response's head counts as the first piece.
            streams::piece_taken();
        }
        body
    }
}

impl ServedBody {
    /// Gives what the component has written to the response cache too.
    fn fill(&mut self, frame: &Frame<Bytes>) {
        let Some(filling) = &mut self.exchange.filling else { return };
        match frame.data_ref() {
            Some(bytes) => filling.push(bytes),
            // The cache stores no trailers.
            None => filling.give_up(),
        }
        if self.content.is_empty() {
            self.filled();
        }
    }

    /// The component has written the whole body.
    fn filled(&mut self) {
        if let Some(filling) = self.exchange.filling.take() {
            filling.finish();
        }
    }

    /// Returns the next piece of a frame, and keeps the rest for the next call.
    fn piece(&mut self, frame: Frame<Bytes>) -> Frame<Bytes> {
        match frame.into_data() {
            Ok(mut bytes) if bytes.len() > TAIL => {
                let piece = bytes.split_to(PIECE.min(bytes.len() - TAIL));
                self.rest = bytes;
                Frame::data(piece)
            }
            Ok(bytes) => Frame::data(bytes),
            Err(trailers) => trailers,
        }
    }
}

impl Drop for ServedBody {
    fn drop(&mut self) {
        // The connection held the last piece, and the client's window had no room for it.
        if self.multiplexed && streams::is_given_up() {
            self.exchange.incomplete();
        }
    }
}

impl Served {
    fn is_empty(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(body) => body.is_end_stream(),
            Self::Ended => true,
        }
    }
}

impl Body for ServedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        if this.multiplexed {
            streams::piece_requested();
        }
        let frame = match &mut this.content {
            _ if !this.rest.is_empty() => Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest))))),
            Served::Ended => Poll::Ready(None),
            Served::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Served::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Served::Stream(body) => {
                let frame = Pin::new(body).poll_frame(cx);
                match &frame {
                    Poll::Ready(Some(Ok(frame))) => this.fill(frame),
                    Poll::Ready(None) => this.filled(),
                    // The body is not complete.
                    Poll::Ready(Some(Err(_))) => this.exchange.filling = None,
                    Poll::Pending => {}
                }
                frame
            }
        };
        let frame = if this.multiplexed { frame.map_ok(|frame| this.piece(frame)) } else { frame };
        match &frame {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => {
                if this.multiplexed {
                    streams::piece_taken();
                }
                this.exchange.sent(frame.data_ref().map_or(0, Bytes::len));
                if this.is_end_stream() {
                    this.exchange.complete();
                }
            }
            Poll::Ready(Some(Err(error))) => {
                this.exchange.body_failed(error);
                this.content = Served::Ended;
            }
            Poll::Ready(None) => {
                this.exchange.complete();
                this.content = Served::Ended;
            }
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.content.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = match &self.content {
            Served::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Served::Stream(body) => body.size_hint(),
            Served::Ended => SizeHint::with_exact(0),
        };
        add_to_hint(hint, self.rest.len())
    }
}
