//! `wasi:config@0.2.0-draft-2024-09-27`: a guest reads its settings.

use std::sync::Arc;
use wasi_http_host_manifest::settings::Snapshot;
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentType, Linker, Lower, WasmStr};

const STORE: &str = "wasi:config/store@0.2.0-draft-2024-09-27";

/// An instance's settings. They live in the store data.
#[derive(Debug, Clone)]
pub(crate) struct Client(Arc<Snapshot>);

impl Client {
    /// The settings that the instance sees for its whole life.
    #[must_use]
    pub(crate) fn new(settings: Arc<Snapshot>) -> Self {
        Self(settings)
    }
}

/// `wasi:config/store.error`. The host reads the snapshot before it creates an instance, so a guest never gets this
/// error.
#[derive(Debug, ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "the interface has them")]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

/// Links `wasi:config/store` at `0.2.0-draft-2024-09-27`, Spin's version. `get` finds the instance's [`Client`].
///
/// # Errors
/// The linker has the interface already.
pub(crate) fn add_to_linker<T: 'static>(
    linker: &mut Linker<T>,
    get: fn(&T) -> &Client,
) -> wasmtime::Result<()> {
    let mut store = linker.instance(STORE)?;
    store.func_wrap("get", move |cx: StoreContextMut<'_, T>, (key,): (WasmStr,)| {
        let value = get(cx.data()).0.get(&key.to_str(&cx)?).map(|value| Arc::clone(value.expose()));
        Ok((Ok::<_, Error>(value),))
    })?;
    store.func_wrap("get-all", move |cx: StoreContextMut<'_, T>, (): ()| {
        Ok((Ok::<_, Error>(get(cx.data()).0.pairs()),))
    })
}
