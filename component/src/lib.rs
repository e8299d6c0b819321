//! The GitHub Gists API as one WASI HTTP component.
//!
//! Two halves. The pure one decides without I/O: routes, queries, GitHub's answers, bodies. The stateful one
//! ([`service`]) is a request's way from top to bottom, over the ports of [`ports`]. Only `wasi` knows WASI.

pub mod app;
pub mod cache;
pub mod github;
pub mod metrics;
mod pages;
pub mod ports;
pub mod request;
pub mod response;
pub mod service;
pub mod settings;
pub mod single_flight;
#[cfg(target_family = "wasm")]
mod wasi;
