//! A server that runs WASI HTTP components, and knows nothing of what they do.
//!
//! ```text
//! client ─▶ server (listener, a thread a core) ─▶ admission ─▶ service (queue, instances) ─▶ component
//!                                                                       │  wasi:http client ─▶ outbound
//!                                                                       │  wasi:keyvalue    ─▶ keyvalue
//!                                                                       └─ wasi:config      ─▶ settings
//! ```
//!
//! [`Host::new`] binds and loads, [`Host::run`] serves until it is told to stop.

mod admin;
mod admission;
mod application;
mod chain;
mod component;
pub mod config;
mod descriptors;
mod engine;
mod guest;
mod held;
pub mod histogram;
mod host;
pub mod keyvalue;
pub mod manifest;
pub mod outbound;
mod random;
mod server;
mod service;
pub mod settings;
mod shutdown;
mod sync;
mod tasks;
mod telemetry;

pub use application::{AppError, CompileReport, Inspected, MAX_WASM_BYTES, compile, inspect};
pub use component::{ComponentError, Import, Inspection, Kind};
pub use config::Config;
pub use descriptors::raise_open_files;
pub use engine::EngineError;
pub use host::{Builder, Host, StartError};
pub use shutdown::{Shutdown, Trigger};
