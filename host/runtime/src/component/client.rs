//! `wasi:http`'s clients. Both are wasmtime's. Before each call, the host notes which request causes the call,
//! because the hook that sends the outbound request cannot see the calling task
//! (`docs/decisions/0037-the-engine-knows-the-request-of-a-chained-call.md`).

use wasmtime::{
    AsContextMut as _, StoreContextMut,
    component::{Accessor, HasData, Linker, Resource},
};
use wasmtime_wasi::TrappableError;
use wasmtime_wasi_http::{
    RequestOptions, WasiHttp, WasiHttpCtxView, WasiHttpView as _,
    p2::{
        bindings::http::{outgoing_handler, types as p2_types},
        types::{HostFutureIncomingResponse, HostOutgoingRequest},
    },
    p3::{
        Request, Response,
        bindings::http::{
            client::{self, HostWithStore},
            types::ErrorCode,
        },
    },
};

use crate::{
    guest::Guest,
    host_bytes::{BODY_BYTES, MAX_FIELDS_BYTES, RESPONSE_CHUNK},
};

/// The version that wasmtime links. wasmtime also gives this version to components that import an earlier 0.2
/// release.
const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// Like [`WasiHttp`], and notes the sender before each request.
struct Noted;

impl HasData for Noted {
    type Data<'a> = WasiHttpCtxView<'a>;
}

impl HostWithStore<Guest> for Noted {
    async fn send(
        store: &Accessor<Guest, Self>,
        request: Resource<Request>,
    ) -> Result<Resource<Response>, TrappableError<ErrorCode>> {
        let charged = store.with(|mut store| {
            note_sender(store.as_context_mut());
            store.as_context_mut().data_mut().charge(BODY_BYTES)
        });
        charged.map_err(TrappableError::trap)?;
        // wasmtime sends the request in this same poll, so no other task can replace the note before the hook reads
        // it.
        let response = WasiHttp::send(&store.with_getter::<WasiHttp>(Guest::http), request).await?;
        let charged = store
            .with(|mut store| store.as_context_mut().data_mut().charge(MAX_FIELDS_BYTES + RESPONSE_CHUNK));
        charged.map_err(TrappableError::trap)?;
        Ok(response)
    }
}

fn note_sender(mut store: StoreContextMut<'_, Guest>) {
    let guest = store.data();
    let (causes, traced) = (guest.causes().clone(), guest.traced().cloned());
    causes.note_sender(store.as_context_mut());
    if let Some(traced) = traced {
        traced.note_sender(store.as_context_mut());
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    client::add_to_linker::<_, Noted>(linker, Guest::http)?;
    add_outgoing_handler(linker)
}

/// Links the client of 0.2, which services of 0.3 may use too. wasmtime's generated trait for this interface has no
/// access to the store, so the function is linked by hand.
fn add_outgoing_handler(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    type Arguments = (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>);
    type Answer = Result<Resource<HostFutureIncomingResponse>, p2_types::ErrorCode>;
    let mut handler = linker.instance(OUTGOING_HANDLER)?;
    handler.func_wrap(
        "handle",
        |mut store: StoreContextMut<'_, Guest>,
         (request, options): Arguments|
         -> wasmtime::Result<(Answer,)> {
            note_sender(store.as_context_mut());
            store.data_mut().charge(MAX_FIELDS_BYTES)?;
            let mut http = store.data_mut().http();
            let sent = outgoing_handler::Host::handle(&mut http, request, options);
            Ok((match sent {
                Ok(response) => Ok(response),
                Err(error) => Err(p2_types::Host::convert_error_code(&mut http, error)?),
            },))
        },
    )
}
