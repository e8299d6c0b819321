//! Why this host cannot run a component.

use crate::footprint::FootprintError;

/// Why this host cannot run a component.
#[derive(Debug, thiserror::Error)]
pub enum ComponentError {
    /// The bytes are a core WebAssembly module.
    #[error(
        "it is a core module, not a component: build it for the target wasm32-wasip2, or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// The bytes are not WebAssembly.
    #[error("it is not WebAssembly: {0}")]
    NotWasm(&'static str),
    /// The component does not serve HTTP.
    #[error(
        "it exports neither wasi:http/handler@0.3 (a service) nor wasi:http/incoming-handler@0.2 (a proxy), but {}",
        list(exports)
    )]
    NoHandler {
        /// The component's exports.
        exports: Vec<String>,
    },
    /// The component imports what this host does not provide.
    #[error(
        "it imports what this host does not provide: {}{}",
        list(missing),
        advice.iter().map(|advice| format!("; {advice}")).collect::<String>()
    )]
    Unsatisfied {
        /// The imports with their versions, each with the reason.
        missing: Vec<String>,
        /// What to rebuild the component with.
        advice: Vec<&'static str>,
    },
    /// Its instances have no place in the pool.
    #[error(transparent)]
    Footprint(#[from] FootprintError),
    /// The component is not valid, or linking failed for another reason.
    #[error("it is invalid: {0:#}")]
    Invalid(wasmtime::Error),
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
