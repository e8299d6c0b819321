//! What is served: made of a manifest and its components as a whole, and replaced as a whole.
//!
//! ```text
//! source (files) ─▶ Loader (compile, link, grant) ─▶ Generation ─▶ ThreadContext::assemble ─▶ ThreadApplication (a thread each)
//! ```
//!
//! A [`Generation`] is one state of the application: it is served whole, or replaced. A changed file or setting makes another
//! one, which shares with the one before what has not changed.

mod bounds;
mod chain;
mod config;
mod error;
mod generation;
mod loader;
mod report;
mod served;
mod source;
mod thread;

pub use bounds::room;
pub use config::ApplicationConfig;
pub use error::LoadError;
pub use generation::{Deployment, Generation};
pub use loader::{Loader, Resources};
pub use report::{CompileReport, Inspected, compile, inspect};
pub use served::{Current, Served, ThreadApplication};
pub use source::{AppError, Binary, MAX_WASM_BYTES, binaries, manifest};
pub use thread::ThreadContext;
