//! Which version of `wasi:http` a component serves.

use wasmtime::{Engine, component::Component};

use super::error::ComponentError;

/// Which version of `wasi:http` a component serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The component exports `wasi:http/handler@0.3.x`. An instance can serve many requests at the same time.
    Service,
    /// The component exports `wasi:http/incoming-handler@0.2.x`. An instance serves one request at a time.
    Proxy,
}

/// Reads the kind from the component's exports.
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
