//! Hands a response over to the host, and its body and trailers.
//!
//! Both writes are started before the response is returned, so that both are complete when the host has taken the response.

use spin_sdk::wasip3::http::types::{ErrorCode, Fields, Response, Trailers};
use spin_sdk::wasip3::wit_future::FuturePayload;
use spin_sdk::wasip3::wit_stream::StreamPayload;
use spin_sdk::wit_bindgen::rt::async_support::{FutureReader, FutureVtable, StreamReader, StreamVtable};

use super::canonical::BLOCKED;
use crate::response::Body;

/// The functions of a `stream<u8>`.
const STREAM: &StreamVtable<u8> = <u8 as StreamPayload>::VTABLE;
/// The functions of the future of the trailers.
const TRAILERS: &FutureVtable<Result<Option<Trailers>, ErrorCode>> =
    <Result<Option<Trailers>, ErrorCode> as FuturePayload>::VTABLE;

/// `Ok(None)` as trailers, in memory: both discriminants are 0.
#[repr(align(8))]
struct NoTrailers([u8; 64]);
static NO_TRAILERS: NoTrailers = NoTrailers([0; 64]);
const _: () = assert!(
    TRAILERS.layout.size() <= size_of::<NoTrailers>() && TRAILERS.layout.align() <= align_of::<NoTrailers>()
);

/// The writes of a response's body and trailers.
pub(super) struct Transfer {
    body: Option<BodyWrite>,
    /// The writable end of the future of the trailers, until they are written.
    trailers: Option<u32>,
}

/// The write of a body.
struct BodyWrite {
    /// The writable end of the stream.
    stream: u32,
    /// The whole body. It must not move: while the write is blocked, the host reads it later.
    body: Body,
    /// How many bytes are written.
    written: usize,
}

impl Transfer {
    /// Makes the host's response and starts the writes.
    ///
    /// # Errors
    /// Why the host refuses the response.
    pub(super) fn start(status: u16, fields: Fields, body: Body) -> Result<(Response, Self), String> {
        let (trailers, trailers_reader) = ends(TRAILERS.new);
        let (mut body, body_reader) = match body {
            body if body.is_empty() => (None, None),
            body => {
                let (stream, reader) = ends(STREAM.new);
                (Some(BodyWrite { stream, body, written: 0 }), Some(StreamReader::new(reader, STREAM)))
            }
        };
        #[expect(unsafe_code, reason = "a handle in place of a value")]
        // SAFETY: the handle is new, and of the type that the functions are for.
        let trailers_reader = unsafe { FutureReader::new(trailers_reader, TRAILERS) };
        let (response, _transmission) = Response::new(fields, body_reader, trailers_reader);
        if status != 200 {
            response.set_status_code(status).map_err(|()| format!("the host rejects the status {status}"))?;
        }
        let mut transfer = Self { body: None, trailers: Some(trailers) };
        #[expect(unsafe_code, reason = "the host reads memory")]
        // SAFETY: the value has at least the payload's layout, and is never freed.
        let code = unsafe { (TRAILERS.start_write)(trailers, NO_TRAILERS.0.as_ptr()) };
        transfer.trailers_written(code);
        if let Some(write) = body.take() {
            transfer.body = write.proceed();
        }
        Ok((response, transfer))
    }

    /// The handles whose events the transfer waits for.
    pub(super) fn waitables(&self) -> impl Iterator<Item = u32> {
        self.body.as_ref().map(|write| write.stream).into_iter().chain(self.trailers)
    }

    /// Takes an event. `false` if the waitable is not one of the transfer's.
    pub(super) fn deliver(&mut self, waitable: u32, code: u32) -> bool {
        if self.trailers == Some(waitable) {
            self.trailers_written(code);
            return true;
        }
        match self.body.take_if(|write| write.stream == waitable) {
            None => false,
            Some(write) => {
                self.body = write.written(code).and_then(BodyWrite::proceed);
                true
            }
        }
    }

    /// Whether body and trailers are written, or the host does not want more of them.
    pub(super) fn is_complete(&self) -> bool {
        self.body.is_none() && self.trailers.is_none()
    }

    fn trailers_written(&mut self, code: u32) {
        if code != BLOCKED
            && let Some(trailers) = self.trailers.take()
        {
            #[expect(unsafe_code, reason = "a handle in place of a value")]
            // SAFETY: the handle is not used again.
            unsafe {
                (TRAILERS.drop_writable)(trailers);
            }
        }
    }
}

impl BodyWrite {
    /// Writes until a write is blocked. `None` if the body is complete.
    fn proceed(mut self) -> Option<Self> {
        loop {
            let rest = self.body.as_bytes().get(self.written..).unwrap_or_default();
            #[expect(unsafe_code, reason = "the host reads memory")]
            // SAFETY: the bytes stay where they are until the write is complete, also if `self` moves.
            let code = unsafe { (STREAM.start_write)(self.stream, rest.as_ptr(), rest.len()) };
            if code == BLOCKED {
                return Some(self);
            }
            self = self.written(code)?;
        }
    }

    /// Takes the result of a write. `None` if it was the last one.
    fn written(mut self, code: u32) -> Option<Self> {
        /// The reader takes no more: the client has gone.
        const DROPPED: u32 = 1;
        let (count, status) = (code >> 4, code & 0xf);
        self.written = self.written.saturating_add(count as usize);
        if status != DROPPED && self.written < self.body.len() {
            return Some(self);
        }
        #[expect(unsafe_code, reason = "a handle in place of a value")]
        // SAFETY: the handle is not used again.
        unsafe {
            (STREAM.drop_writable)(self.stream);
        }
        None
    }
}

/// The writable and the readable end that `new` makes.
#[expect(unsafe_code, reason = "a function of the canonical ABI without arguments")]
fn ends(new: unsafe extern "C" fn() -> u64) -> (u32, u32) {
    // SAFETY: it has no arguments.
    let both = unsafe { new() };
    #[expect(clippy::cast_possible_truncation, reason = "two handles in one number")]
    ((both >> 32) as u32, both as u32)
}
