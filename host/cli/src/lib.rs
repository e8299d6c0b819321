//! A server that runs WASI HTTP components. The server is independent of what the components do.
//!
//! ```text
//! client ─▶ server (listener, a thread a core) ─▶ runtime (admission, queue, instances) ─▶ component
//!                    │  wasi:http client ─▶ outbound
//!                    │  wasi:keyvalue ─▶ keyvalue
//!                    └─ wasi:config   ─▶ settings
//! ```
//!
//! This crate combines the host's crates: [`Host::new`] binds and loads, and [`Host::run`] serves until it is asked
//! to stop. The crate re-exports what an embedder needs of the other crates.

mod admin;
mod command_line;
mod config;
mod descriptors;
mod exit_code;
mod failure;
mod host;
mod memory;
mod metrics;
mod probe;
#[cfg(test)]
mod reference;
mod reload;
mod response_cache;
mod shutdown;
mod termination_log;

pub use command_line::CommandLine;
pub use config::Config;
pub use descriptors::raise_open_files;
pub use exit_code::ExitStatus;
pub use failure::Failure;
pub use host::{Builder, Host, StartError};
pub use probe::{ProbeConfig, ProbeError, ProbeUrl, probe};
pub use shutdown::{Shutdown, Trigger};
pub use wasi_http_host_application::{
    AppError, ApplicationConfig, CompileReport, Inspected, LoadError, MAX_WASM_BYTES, compile, inspect,
};
pub use wasi_http_host_keyvalue as keyvalue;
pub use wasi_http_host_outbound::OutboundConfig;
pub use wasi_http_host_runtime::{ComponentError, Import, Inspection, Kind, engine::EngineError};
