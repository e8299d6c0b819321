//! Reads `spin.toml`, version 2: the same manifest that `spin up` reads.
//!
//! [`keys`] has every key of Spin's manifest. A key whose absence is harmless becomes a
//! [warning](Manifest::warnings) with its path. A manifest that the host cannot serve is an [`Error`] with file, line
//! and key. A bare `.wasm` file is served as if a manifest named that file.

mod document;
pub mod keys;
mod least;
mod limits;
mod load;
mod model;
mod read;
mod resolved;
mod route;
pub mod settings;

pub use document::Error;
pub use least::{LEAST_MEMORY, LEAST_REQUEST_TIMEOUT};
pub use limits::OwnLimits;
pub use load::MAX_BYTES;
pub use model::{Component, MAX_ID_BYTES, Manifest, Mount};
pub use resolved::{ResolveError, Resolved};
pub use route::{InvalidRoute, Route, Routes};

/// Most components of a manifest. Each component has instances, queues and metrics on every thread.
pub const MAX_COMPONENTS: usize = 64;

/// Largest component binary, in bytes.
pub const MAX_WASM_BYTES: u64 = 256 << 20;

#[cfg(test)]
mod tests;
