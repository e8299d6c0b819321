//! What is served: components by route, made into a [`Generation`] that never changes.
//!
//! ```text
//! source (manifest, binaries, settings) ─▶ Loader ─▶ Generation ─▶ a Lineup on each thread ─▶ requests
//! ```
//!
//! A change of any of them makes another generation beside the one that is served. What it has in common with that
//! one is shared, each thread swaps its [`Lineup`] between two requests, and what is left over serves the requests
//! that it has, and goes.

mod bounds;
mod generation;
mod hangup;
mod lineup;
mod loader;
mod reload;
mod retry;
mod settling;
mod source;
mod watch;

pub(crate) use bounds::room;
pub(crate) use generation::{Deployment, Generation};
pub(crate) use hangup::Hangup;
pub(crate) use lineup::{Current, Lineup, Served, Thread};
pub use loader::{CompileReport, Inspected, compile, inspect};
pub(crate) use loader::{Loader, Resources};
pub(crate) use reload::Reloader;
pub use source::{AppError, MAX_WASM_BYTES};
pub(crate) use source::{binaries, manifest};
pub(crate) use watch::Watch;
