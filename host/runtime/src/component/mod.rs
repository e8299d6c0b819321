//! A component, loaded: told by its exports, linked, and ready to be instantiated.

mod client;
mod imports;

pub use imports::{Import, Inspection};

use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};
use wasmtime_wasi_http::{
    WasiHttp, WasiHttpView as _,
    handler::{Proxy, ProxyPre},
    p2, p3,
};

use crate::guest::Guest;

/// Which generation of `wasi:http` a component serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Exports `wasi:http/handler@0.3.x`: serves many requests at once.
    Service,
    /// Exports `wasi:http/incoming-handler@0.2.x`: serves one after the other.
    Proxy,
}

/// What is wrong with a component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The bytes are a module of WebAssembly's core.
    #[error(
        "it is a core module, not a component: build it for the target wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// The bytes are nothing that WebAssembly knows.
    #[error("it is not WebAssembly: {0}")]
    NotWasm(&'static str),
    /// It serves no HTTP.
    #[error(
        "it exports neither wasi:http/handler@0.3 (a service) nor wasi:http/incoming-handler@0.2 (a proxy), but {}",
        list(exports)
    )]
    NoHandler {
        /// What it exports instead.
        exports: Vec<String>,
    },
    /// It needs what this host does not have.
    #[error("it imports what this host does not provide: {}", list(missing))]
    Unsatisfied {
        /// The imports, with their versions and what is wrong with each.
        missing: Vec<String>,
    },
    /// It is not valid, or does not link for another reason.
    #[error("it is invalid: {0:#}")]
    Invalid(wasmtime::Error),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing at all".to_owned() } else { names.join(", ") }
}

/// Refuses what is not a component before a compiler sees it.
///
/// # Errors
/// Says what the bytes are instead.
pub fn check_binary(bytes: &[u8]) -> Result<(), ComponentError> {
    // The eight bytes after https://webassembly.github.io/spec/core/binary/modules.html and the component
    // model's Binary.md: magic, version, and the layer, which is 0 for a module and 1 for a component.
    match bytes {
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Err(ComponentError::CoreModule),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', ..] => {
            Err(ComponentError::NotWasm("its layer is neither module nor component"))
        }
        [0x7f, b'E', b'L', b'F', ..] => Err(ComponentError::NotWasm(
            "it is compiled code: give the .wasm, the host keeps compiled code itself",
        )),
        [] => Err(ComponentError::NotWasm("it is empty")),
        _ => Err(ComponentError::NotWasm("it does not begin with \\0asm")),
    }
}

/// Links and type-checks once, so that each instance is only an allocation.
pub struct Linked {
    pre: ProxyPre<Guest>,
    kind: Kind,
    waits: bool,
}

impl Linked {
    /// Links `component` against everything that the host provides, `remote` where one of its key-value stores is.
    ///
    /// # Errors
    /// When it exports no handler, or imports what the host lacks: all of it is named.
    pub fn new(engine: &Engine, component: &Component, remote: bool) -> Result<Self, ComponentError> {
        let kind = kind(engine, component)?;
        let waits = remote && opens_stores(engine, component);
        let linker = linker(engine, waits).map_err(ComponentError::Invalid)?;
        let pre = match linker.instantiate_pre(component) {
            Ok(pre) => pre,
            Err(error) => {
                let missing = imports::missing(engine, component, &linker);
                return Err(match missing.is_empty() {
                    true => ComponentError::Invalid(error),
                    false => ComponentError::Unsatisfied { missing },
                });
            }
        };
        let pre = match kind {
            Kind::Service => p3::bindings::ServicePre::new(pre).map(ProxyPre::P3),
            Kind::Proxy => p2::bindings::ProxyPre::new(pre).map(ProxyPre::P2),
        };
        Ok(Self { pre: pre.map_err(ComponentError::Invalid)?, kind, waits })
    }

    /// Makes an instance in `store`.
    pub(crate) async fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<Proxy> {
        self.pre.instantiate_async(store).await
    }

    /// Which generation of `wasi:http` it serves.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether its instances may stand still for a remote store: where one is granted, and it asks for any.
    pub fn waits(&self) -> bool {
        self.waits
    }
}

fn opens_stores(engine: &Engine, component: &Component) -> bool {
    component.component_type().imports(engine).any(|(name, _)| name.starts_with("wasi:keyvalue/"))
}

/// Tells what a component serves by its exports.
fn kind(engine: &Engine, component: &Component) -> Result<Kind, ComponentError> {
    let ty = component.component_type();
    let exports: Vec<String> = ty.exports(engine).map(|(name, _)| name.to_owned()).collect();
    let exported = |prefix: &str| exports.iter().any(|name| name.starts_with(prefix));
    if exported("wasi:http/handler@0.3.") {
        Ok(Kind::Service)
    } else if exported("wasi:http/incoming-handler@0.2.") {
        Ok(Kind::Proxy)
    } else {
        Err(ComponentError::NoHandler { exports })
    }
}

/// Everything that a component may import.
pub(crate) fn linker(engine: &Engine, waiting: bool) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi::p3::add_to_linker(&mut linker)?;
    client::add_to_linker(&mut linker)?;
    let p2_options = p2::bindings::LinkOptions::default();
    p2::bindings::http::types::add_to_linker::<_, WasiHttp>(&mut linker, &(&p2_options).into(), Guest::http)?;
    p3::bindings::http::types::add_to_linker::<_, WasiHttp>(&mut linker, Guest::http)?;
    Guest::link(&mut linker, waiting)?;
    Ok(linker)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component that imports an empty interface of this name.
    fn importing(name: &str) -> Vec<u8> {
        let length = u8::try_from(name.len()).unwrap();
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        // A type: an instance without exports. Then an import of that type.
        bytes.extend([7, 3, 1, 0x42, 0]);
        bytes.extend([10, length + 5, 1, 0, length]);
        bytes.extend(name.as_bytes());
        bytes.extend([5, 0]);
        bytes
    }

    #[test]
    fn only_what_imports_stores_waits_for_one() {
        let engine = Engine::default();
        let opens = |name| {
            let component = Component::from_binary(&engine, &importing(name)).unwrap();
            opens_stores(&engine, &component)
        };
        assert!(opens("wasi:keyvalue/store@0.2.0-draft2"));
        assert!(!opens("wasi:clocks/monotonic-clock@0.2.6"));
    }
}
