//! `wasi:http@0.3`'s client: wasmtime's, and before it a note whose request is sent, which the hook that sends it cannot see.

use wasmtime::{
    AsContextMut as _,
    component::{Accessor, HasData, Linker, Resource},
};
use wasmtime_wasi::TrappableError;
use wasmtime_wasi_http::{
    WasiHttp, WasiHttpCtxView, WasiHttpView as _,
    p3::{
        Request, Response,
        bindings::http::{
            client::{self, HostWithStore},
            types::ErrorCode,
        },
    },
};

use crate::guest::Guest;

/// As [`WasiHttp`].
struct Noted;

impl HasData for Noted {
    type Data<'a> = WasiHttpCtxView<'a>;
}

impl HostWithStore<Guest> for Noted {
    async fn send(
        store: &Accessor<Guest, Self>,
        request: Resource<Request>,
    ) -> Result<Resource<Response>, TrappableError<ErrorCode>> {
        store.with(|mut store| {
            let guest = store.data_mut();
            let (links, calls) = (guest.links().cloned(), guest.calls().cloned());
            if let Some(links) = links {
                links.note_sender(store.as_context_mut());
            }
            if let Some(calls) = calls {
                calls.note_sender(store.as_context_mut());
            }
        });
        // Hands the request over before anything else gets a turn.
        WasiHttp::send(&store.with_getter::<WasiHttp>(Guest::http), request).await
    }
}

pub(super) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    client::add_to_linker::<_, Noted>(linker, Guest::http)
}
