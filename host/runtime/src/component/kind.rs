//! Which generation of `wasi:http` a component serves.

use wasmtime::{Engine, component::Component};

use super::error::ComponentError;

/// Which generation of `wasi:http` a component serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Exports `wasi:http/handler@0.3.x`: serves many requests at once.
    Service,
    /// Exports `wasi:http/incoming-handler@0.2.x`: serves one after the other.
    Proxy,
}

/// Tells what a component serves by its exports.
pub(super) fn kind(engine: &Engine, component: &Component) -> Result<Kind, ComponentError> {
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
