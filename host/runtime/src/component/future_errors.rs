//! The errors that a guest writes into the futures of `wasi:http@0.3`: how it read a body, and why a body has no
//! trailers.
//!
//! wasmtime keeps such an error until somebody reads it. That may be as long as the instance lives, and no table of
//! handles shows the error. The number of futures of an instance is bounded, but the text of an error may have as many
//! bytes as one call. So the host reads the guest's future, cuts the text, and passes a future of its own to wasmtime.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::channel::oneshot;
use wasi_http_host_core::bounded;
use wasmtime::{
    AsContextMut as _, StoreContextMut,
    component::{
        Access, FutureConsumer, FutureReader, Lift, LinkerInstance, Lower, Resource, Source, StreamReader,
    },
    error::Context as _,
};
use wasmtime_wasi_http::{
    FieldMap, WasiHttp, WasiHttpView as _,
    p3::{
        Request, Response,
        bindings::http::types::{ErrorCode, HostRequestWithStore, HostResponseWithStore, RequestOptions},
    },
};

use crate::guest::Guest;

/// The most bytes of an error's text that the host keeps. Those of all futures of an instance are a few megabytes.
const MAX_TEXT_BYTES: usize = 256;

type Store<'a> = StoreContextMut<'a, Guest>;
type Fields = Resource<FieldMap>;
type Body = StreamReader<u8>;
type ReadResult = FutureReader<Result<(), ErrorCode>>;
type Trailers = FutureReader<Result<Option<Fields>, ErrorCode>>;

/// Replaces the functions that take such a future, in a linker's `wasi:http/types@0.3` that has wasmtime's.
pub(super) fn add_to_linker(types: &mut LinkerInstance<'_, Guest>) -> wasmtime::Result<()> {
    type RequestParts = (Fields, Option<Body>, Trailers, Option<Resource<RequestOptions>>);

    types.func_wrap(
        "[static]request.new",
        |mut store: Store<'_>, (fields, body, trailers, options): RequestParts| {
            let trailers = cut(store.as_context_mut(), trailers, drop_trailers)?;
            Ok((<WasiHttp as HostRequestWithStore<_>>::new(access(store), fields, body, trailers, options)?,))
        },
    )?;
    types.func_wrap(
        "[static]request.consume-body",
        |mut store: Store<'_>, (request, result): (Resource<Request>, ReadResult)| {
            let result = cut(store.as_context_mut(), result, |_, ()| ())?;
            Ok((<WasiHttp as HostRequestWithStore<_>>::consume_body(access(store), request, result)?,))
        },
    )?;
    types.func_wrap(
        "[static]response.consume-body",
        |mut store: Store<'_>, (response, result): (Resource<Response>, ReadResult)| {
            let result = cut(store.as_context_mut(), result, |_, ()| ())?;
            Ok((<WasiHttp as HostResponseWithStore<_>>::consume_body(access(store), response, result)?,))
        },
    )
}

/// The store as wasmtime's own functions take it.
pub(super) fn access(store: Store<'_>) -> Access<'_, Guest, WasiHttp> {
    Access::<Guest, WasiHttp>::new(store, Guest::http)
}

fn drop_trailers(guest: &mut Guest, trailers: Option<Fields>) {
    if let Some(trailers) = trailers {
        // The guest has just given the fields away, so nothing else can have removed them.
        let _ = guest.http().table.delete(trailers);
    }
}

/// Returns a future that resolves as `from` does, with the start of an error's text. As before, the guest's write waits
/// until somebody reads the future. `discard` takes a value that nobody reads any more.
fn cut<V>(
    mut store: Store<'_>,
    from: FutureReader<Result<V, ErrorCode>>,
    discard: fn(&mut Guest, V),
) -> wasmtime::Result<FutureReader<Result<V, ErrorCode>>>
where
    V: Lift + Lower + Send + Sync + 'static,
{
    let (demand, demanded) = oneshot::channel();
    from.pipe(store.as_context_mut(), Cut { demanded, discard })?;
    FutureReader::new(store, async move {
        let (reader, value) = oneshot::channel();
        // If the guest's end is gone, so is the receiver of `demand`, and `value` is an error.
        let _ = demand.send(reader);
        value.await
    })
}

/// Reads a guest's future when the future that replaces it is read.
struct Cut<V> {
    /// The reader of the replacement. An error if the replacement is gone.
    demanded: oneshot::Receiver<oneshot::Sender<Result<V, ErrorCode>>>,
    discard: fn(&mut Guest, V),
}

impl<V: Lift + Send + 'static> FutureConsumer<Guest> for Cut<V> {
    type Item = Result<V, ErrorCode>;

    fn poll_consume(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: Store<'_>,
        mut source: Source<'_, Self::Item>,
        finish: bool,
    ) -> Poll<wasmtime::Result<()>> {
        let reader = match Pin::new(&mut self.demanded).poll(cx) {
            Poll::Ready(reader) => reader.ok(),
            Poll::Pending if finish => return Poll::Ready(Ok(())),
            Poll::Pending => return Poll::Pending,
        };
        let mut value = None;
        source.read(store.as_context_mut(), &mut value)?;
        let value = value.context("a future without a value was read")?.map_err(with_start_of_text);
        let unread = match reader {
            Some(reader) => reader.send(value).err(),
            None => Some(value),
        };
        if let Some(Ok(value)) = unread {
            (self.discard)(store.data_mut(), value);
        }
        Poll::Ready(Ok(()))
    }
}

pub(super) fn with_start_of_text(mut code: ErrorCode) -> ErrorCode {
    let text = match &mut code {
        ErrorCode::DnsError(payload) => payload.rcode.as_mut(),
        ErrorCode::TlsAlertReceived(payload) => payload.alert_message.as_mut(),
        ErrorCode::HttpRequestHeaderSize(Some(field))
        | ErrorCode::HttpRequestTrailerSize(field)
        | ErrorCode::HttpResponseHeaderSize(field)
        | ErrorCode::HttpResponseTrailerSize(field) => field.field_name.as_mut(),
        ErrorCode::HttpResponseTransferCoding(text)
        | ErrorCode::HttpResponseContentCoding(text)
        | ErrorCode::InternalError(text) => text.as_mut(),
        _ => None,
    };
    if let Some(text) = text
        && text.len() > MAX_TEXT_BYTES
    {
        // A new text, because a shorter one would keep the memory of the whole.
        *text = bounded(text, MAX_TEXT_BYTES).to_owned();
    }
    code
}

#[cfg(test)]
mod tests {
    use wasmtime_wasi_http::p3::bindings::http::types::{
        DnsErrorPayload, FieldSizePayload, TlsAlertReceivedPayload,
    };

    use super::*;

    #[test]
    fn each_text_of_an_error_is_cut() {
        let text = || Some("é".repeat(MAX_TEXT_BYTES));
        let field = || FieldSizePayload { field_name: text(), field_size: None };
        for code in [
            ErrorCode::DnsError(DnsErrorPayload { rcode: text(), info_code: None }),
            ErrorCode::TlsAlertReceived(TlsAlertReceivedPayload { alert_id: None, alert_message: text() }),
            ErrorCode::HttpRequestHeaderSize(Some(field())),
            ErrorCode::HttpRequestTrailerSize(field()),
            ErrorCode::HttpResponseHeaderSize(field()),
            ErrorCode::HttpResponseTrailerSize(field()),
            ErrorCode::HttpResponseTransferCoding(text()),
            ErrorCode::HttpResponseContentCoding(text()),
            ErrorCode::InternalError(text()),
        ] {
            let shown = format!("{:?}", with_start_of_text(code));
            assert_eq!(shown.matches('é').count(), MAX_TEXT_BYTES / 2, "{shown}");
        }
    }
}
