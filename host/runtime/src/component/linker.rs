//! The linker with everything that a component may import.

use wasmtime::{Engine, component::Linker};
use wasmtime_wasi_http::{WasiHttp, WasiHttpView as _, p2, p3};

use super::{client, filesystem, retaining};
use crate::guest::Guest;

/// Everything that a component may import. Set `waiting` if one of the key-value stores is remote.
pub(super) fn linker(engine: &Engine, waiting: bool) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    // All of 0.3 but files, which have bounds (`filesystem.rs`): another set of their functions would be in the program, too.
    wasmtime_wasi::p3::cli::add_to_linker(&mut linker)?;
    wasmtime_wasi::p3::clocks::add_to_linker(&mut linker)?;
    wasmtime_wasi::p3::random::add_to_linker(&mut linker)?;
    wasmtime_wasi::p3::sockets::add_to_linker(&mut linker)?;
    client::add_to_linker(&mut linker)?;
    let p2_options = p2::bindings::LinkOptions::default();
    p2::bindings::http::types::add_to_linker::<_, WasiHttp>(&mut linker, &(&p2_options).into(), Guest::http)?;
    p3::bindings::http::types::add_to_linker::<_, WasiHttp>(&mut linker, Guest::http)?;
    retaining::add_to_linker(&mut linker)?;
    filesystem::add_to_linker(&mut linker)?;
    Guest::link(&mut linker, waiting)?;
    Ok(linker)
}
