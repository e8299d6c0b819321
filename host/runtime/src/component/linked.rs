//! A component that is linked once, so that creating an instance only allocates.

use std::sync::Arc;

use wasmtime::{Engine, Store, component::Component};
use wasmtime_wasi_http::{
    handler::{Proxy, ProxyPre},
    p2, p3,
};

use super::{
    error::ComponentError,
    imports,
    kind::{Kind, kind},
    linker::linker,
};
use crate::{
    engine::Compiled,
    footprint::Footprint,
    guest::Guest,
    host_bytes,
    reuse::{InstanceReuse, Reuse},
};

/// Rejects bytes that are not a component, before the compiler sees them.
///
/// # Errors
/// Names what the bytes are instead.
pub fn check_binary(bytes: &[u8]) -> Result<(), ComponentError> {
    // The first eight bytes: magic, version, and the layer, which is 0 for a module and 1 for a component. See
    // <https://webassembly.github.io/spec/core/binary/modules.html> and the component model's Binary.md.
    match bytes {
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Err(ComponentError::CoreModule),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', ..] => {
            Err(ComponentError::NotWasm("its layer is neither module nor component"))
        }
        [0x7f, b'E', b'L', b'F', ..] => Err(ComponentError::NotWasm(
            "it is native code: pass the .wasm file; the host compiles and caches it itself",
        )),
        [] => Err(ComponentError::NotWasm("it is empty")),
        _ => Err(ComponentError::NotWasm("it does not begin with \\0asm")),
    }
}

/// A component, linked and type-checked once, so that creating an instance only allocates.
pub struct Linked {
    pre: ProxyPre<Guest>,
    kind: Kind,
    footprint: Footprint,
    opens_stores: bool,
    waits: bool,
    reuse: Arc<Reuse>,
}

impl Linked {
    /// Links a component to all interfaces of the host. Set `remote` if one of the component's key-value stores is
    /// remote.
    ///
    /// # Errors
    /// The component exports no handler, needs too much of the pool, or imports what the host does not provide. The
    /// error names all such imports.
    pub fn new(engine: &Engine, compiled: &Compiled, remote: bool) -> Result<Self, ComponentError> {
        let component = &compiled.component;
        let footprint = Footprint::of(component, compiled.needs)?;
        let kind = kind(engine, component)?;
        let opens_stores = opens_stores(engine, component);
        let waits = remote && opens_stores;
        let linker = linker(engine, waits).map_err(ComponentError::Invalid)?;
        let pre = match linker.instantiate_pre(component) {
            Ok(pre) => pre,
            Err(error) => {
                let unsatisfied = imports::unsatisfied_error(engine, component, &linker);
                return Err(unsatisfied.unwrap_or(ComponentError::Invalid(error)));
            }
        };
        let pre = match kind {
            Kind::Service => p3::bindings::ServicePre::new(pre).map(ProxyPre::P3),
            Kind::Proxy => p2::bindings::ProxyPre::new(pre).map(ProxyPre::P2),
        };
        let pre = pre.map_err(ComponentError::Invalid)?;
        Ok(Self { pre, kind, footprint, opens_stores, waits, reuse: Arc::default() })
    }

    /// Creates an instance in `store`.
    pub(crate) async fn instantiate(&self, store: &mut Store<Guest>) -> wasmtime::Result<Proxy> {
        self.pre.instantiate_async(store).await
    }

    /// Which version of `wasi:http` the component serves.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The part of a new instance in what is known about the reuse of instances.
    pub(crate) fn instance_reuse(&self) -> InstanceReuse {
        InstanceReuse::new(self.reuse.clone())
    }

    /// What each instance takes from the pool.
    #[must_use]
    pub fn footprint(&self) -> Footprint {
        self.footprint
    }

    /// The most bytes that an instance with `max_memory` bytes of linear memory takes.
    #[must_use]
    pub fn most_instance_bytes(&self, max_memory: usize) -> u64 {
        host_bytes::most_instance_bytes(max_memory, self.footprint.stacks, self.opens_stores)
    }

    /// Whether the component imports a store interface.
    pub(crate) fn opens_stores(&self) -> bool {
        self.opens_stores
    }

    /// Whether an instance may block on a remote store: the component is granted one and imports a store interface.
    pub fn waits(&self) -> bool {
        self.waits
    }
}

fn opens_stores(engine: &Engine, component: &Component) -> bool {
    component.component_type().imports(engine).any(|(name, _)| name.starts_with("wasi:keyvalue/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component that imports an empty interface of this name.
    fn importing(name: &str) -> Vec<u8> {
        let length = u8::try_from(name.len()).unwrap();
        let mut bytes = b"\0asm\x0d\0\x01\0".to_vec();
        // A type section with an instance type without exports, then an import of that type.
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
