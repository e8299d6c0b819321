//! `spin.toml`: the same manifest that `spin up` reads, version 2, and what this host makes of it.
//!
//! A key that Spin knows and this host has no use for, or that nobody knows, is a [warning](Manifest::warnings)
//! with its path; a manifest that cannot be served is an [`Error`] with file, line and key. A bare `.wasm` file is
//! served as if a manifest had named it.

mod document;
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
pub use model::{Component, Manifest, Mount};
pub use resolved::{ResolveError, Resolved};
pub use route::{InvalidRoute, Route, Routes};

#[cfg(test)]
mod tests;
