//! The application: loaded as a whole from a manifest and its components, and replaced as a whole.
//!
//! ```text
//! source (files) ─▶ Loader (compile, link, grant) ─▶ Generation ─▶ ThreadContext::assemble ─▶ ThreadApplication (a thread each)
//! ```
//!
//! A [`Generation`] is one state of the application. A changed file or setting leads to a new generation, which
//! shares with its predecessor everything that has not changed.

mod bounds;
mod chain;
mod config;
mod error;
mod generation;
mod loader;
mod mounts;
mod report;
mod served;
mod source;
mod thread;

pub use bounds::pool_capacity;
pub use config::ApplicationConfig;
pub use error::LoadError;
pub use generation::{Deployment, Generation};
pub use loader::{Loader, Resources};
pub use mounts::resolve_mounts;
pub use report::{CompileReport, Inspected, compile, inspect};
pub use served::{Current, Served, ThreadApplication};
pub use source::{AppError, Binary, binaries, manifest};
pub use thread::ThreadContext;
pub use wasi_http_host_manifest::MAX_WASM_BYTES;
