//! Response bodies of `wasi:http@0.3`, which the host reads from `response.new` on.
//!
//! wasmtime reads the body of a response only after the call has returned the response. Until then each write of the
//! guest waits, so the guest sets up a waitable set, leaves, and is entered again for the body and for the trailers.
//! Here the host reads at once what fits into [`EARLY_BYTES`]. A guest that writes a small body therefore ends in the
//! same entry that returned the response (`docs/decisions/0052-read-response-bodies-early.md`).

use std::{
    mem,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use wasi_http_host_core::{BoundedError, lock};
use wasmtime::{
    AsContextMut as _, StoreContextMut,
    component::{
        FutureConsumer, FutureReader, LinkerInstance, Resource, Source, StreamConsumer, StreamReader,
        StreamResult,
    },
    error::Context as _,
};
use wasmtime_wasi_http::{
    Error, FieldMap, WasiHttp, WasiHttpView as _,
    p3::{
        Response,
        bindings::http::types::{ErrorCode, HostResponseWithStore},
    },
};

use super::future_errors::{access, with_start_of_text};
use crate::{
    guest::Guest,
    host_bytes::{Counted, EarlyBytes, RESPONSE_CHUNK, fields_bytes},
};

type Store<'a> = StoreContextMut<'a, Guest>;
type Fields = Resource<FieldMap>;
type TrailersResult = Result<Option<Fields>, ErrorCode>;
/// What `response.new` returns: the response, and a future that tells whether the response was sent.
type NewResponse = (Resource<Response>, FutureReader<Result<(), ErrorCode>>);

/// Replaces `response.new`, in a linker's `wasi:http/types@0.3` that has wasmtime's.
pub(super) fn add_to_linker(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type Parts = (Fields, Option<StreamReader<u8>>, FutureReader<TrailersResult>);

    types.func_wrap("[static]response.new", |store: Store<'_>, (fields, contents, trailers): Parts| {
        Ok((match contents {
            // wasmtime passes on a body that comes from the host without copying it into the guest and out.
            Some(contents) if !store.data().in_flight().has_host_bodies() => {
                new_response(store, fields, contents, trailers)?
            }
            contents => {
                <WasiHttp as HostResponseWithStore<_>>::new(access(store), fields, contents, trailers)?
            }
        },))
    })
}

/// Makes a response with a body, and reads the body from now on.
///
/// # Errors
/// A handle is not the guest's, or the instance has too many handles.
fn new_response(
    mut store: Store<'_>,
    fields: Fields,
    contents: StreamReader<u8>,
    trailers: FutureReader<TrailersResult>,
) -> wasmtime::Result<NewResponse> {
    let shared = Arc::new(Shared::default());
    let early = store.data().early_bytes().clone();
    contents.pipe(store.as_context_mut(), Contents { shared: shared.clone(), early })?;
    trailers.pipe(store.as_context_mut(), Trailers { shared: shared.clone() })?;
    let view = store.data_mut().http();
    let mut fields = view.table.delete(fields).context("a response without its fields")?;
    // As wasmtime does: what a response has is not changed any more.
    fields.set_immutable();
    let (mut response, sent) = Response::from_http(view.hooks, http::Response::new(EarlyBody(shared)));
    response.headers = fields;
    let response = view.table.push(response)?;
    let sent = FutureReader::new(store, async move {
        wasmtime::error::Ok(sent.await.map_err(|error| error_code(&error)))
    })?;
    Ok((response, sent))
}

/// The error of a response that was not sent, as the guest is told.
fn error_code(error: &Error) -> ErrorCode {
    match error {
        Error::HttpResponseBodySize(size) => ErrorCode::HttpResponseBodySize(*size),
        other => ErrorCode::InternalError(Some(BoundedError(other).to_string())),
    }
}

/// What the guest has written and nobody has read.
#[derive(Default)]
struct Shared(Mutex<State>);

#[derive(Default)]
struct State {
    chunk: Option<Chunk>,
    /// The guest has written all contents.
    ended: bool,
    trailers: End,
    /// Whether the response is on its way, and so has a reader that waits for each chunk.
    reading: bool,
    /// The response was dropped.
    reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Chunk {
    bytes: Bytes,
    /// Held until the chunk is read. `None` if the chunk has a reader.
    _early: Option<Counted>,
}

/// How the body ends after its contents.
#[derive(Default)]
enum End {
    #[default]
    Unknown,
    WithoutTrailers,
    Trailers(HeaderMap, #[expect(dead_code, reason = "held for its drop")] Counted),
    Failed(ErrorCode),
}

impl Shared {
    /// Changes the state, and wakes the reader.
    fn write(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.0);
        change(&mut state);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

/// Reads the contents.
struct Contents {
    shared: Arc<Shared>,
    early: EarlyBytes,
}

impl StreamConsumer<Guest> for Contents {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        store: Store<'_>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let mut source = source.as_direct(store);
        let written = source.remaining();
        let bytes = written.get(..RESPONSE_CHUNK).unwrap_or(written);
        let mut state = lock(&self.shared.0);
        if state.reader_gone {
            return Poll::Ready(Ok(StreamResult::Dropped));
        }
        let early = if state.reading { None } else { self.early.take(bytes.len()) };
        if state.chunk.is_some() || !state.reading && early.is_none() {
            if finish {
                return Poll::Ready(Ok(StreamResult::Cancelled));
            }
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        // A write without bytes asks whether there is room.
        if !bytes.is_empty() {
            state.chunk = Some(Chunk { bytes: Bytes::copy_from_slice(bytes), _early: early });
            let (read, reader) = (bytes.len(), state.reader.take());
            drop(state);
            source.mark_read(read);
            if let Some(reader) = reader {
                reader.wake();
            }
        }
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

impl Drop for Contents {
    fn drop(&mut self) {
        self.shared.write(|state| state.ended = true);
    }
}

/// Reads the trailers.
struct Trailers {
    shared: Arc<Shared>,
}

impl FutureConsumer<Guest> for Trailers {
    type Item = TrailersResult;

    fn poll_consume(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut store: Store<'_>,
        mut source: Source<'_, TrailersResult>,
        _: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let mut value = None;
        source.read(store.as_context_mut(), &mut value)?;
        let end = match value.context("a future without a value was read")? {
            Ok(None) => End::WithoutTrailers,
            Ok(Some(trailers)) => {
                let trailers = store.data_mut().http().table.delete(trailers)?;
                // The bytes were charged when the fields were made. From now on no handle shows them.
                let counted = store.data().in_flight().count_bytes(fields_bytes(&trailers));
                End::Trailers(trailers.into(), counted)
            }
            Err(code) => End::Failed(with_start_of_text(code)),
        };
        self.shared.write(|state| state.trailers = end);
        Poll::Ready(Ok(()))
    }
}

impl Drop for Trailers {
    fn drop(&mut self) {
        self.shared.write(|state| {
            if matches!(state.trailers, End::Unknown) {
                state.trailers = End::WithoutTrailers;
            }
        });
    }
}

/// The reader's side of the body.
struct EarlyBody(Arc<Shared>);

impl Body for EarlyBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let mut state = lock(&self.0.0);
        state.reading = true;
        let chunk = state.chunk.take();
        let writer = state.writer.take();
        let frame = match chunk {
            Some(chunk) => Poll::Ready(Some(Ok(Frame::data(chunk.bytes)))),
            None if !state.ended || matches!(state.trailers, End::Unknown) => {
                match &mut state.reader {
                    Some(reader) => reader.clone_from(cx.waker()),
                    reader => *reader = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            None => Poll::Ready(match mem::replace(&mut state.trailers, End::WithoutTrailers) {
                End::Trailers(trailers, _) => Some(Ok(Frame::trailers(trailers))),
                End::Failed(code) => Some(Err(code.into())),
                End::WithoutTrailers | End::Unknown => None,
            }),
        };
        drop(state);
        if let Some(writer) = writer {
            writer.wake();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.0.0);
        state.chunk.is_none() && state.ended && matches!(state.trailers, End::WithoutTrailers)
    }
}

impl Drop for EarlyBody {
    fn drop(&mut self) {
        let mut state = lock(&self.0.0);
        state.reader_gone = true;
        // The chunk counts no longer.
        let (chunk, writer) = (state.chunk.take(), state.writer.take());
        drop(state);
        drop(chunk);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}
