//! What is wrong with a component.

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
