//! The GitHub Gists API as one WASI HTTP component.
//!
//! Two halves. The pure one decides without I/O: routes, queries, GitHub's answers, bodies. The stateful one
//! ([`service`]) is a request's way from top to bottom, over the ports of [`ports`]. Only `wasi` knows WASI.

pub mod accept;
pub mod answer;
pub mod app;
pub mod cache;
pub mod conditional;
pub mod docs;
pub mod entry;
pub mod error;
pub mod fill;
pub mod fingerprint;
pub mod flight;
pub mod freshness;
pub mod gate;
pub mod gist;
pub mod http_date;
pub mod lease;
pub mod link;
pub mod metrics;
pub mod number;
pub mod openapi;
mod pages;
pub mod percent;
pub mod permits;
pub mod ports;
pub mod problem;
pub mod query;
pub mod redirect;
pub mod response;
pub mod ring;
pub mod route;
pub mod service;
pub mod settings;
pub mod stats;
pub mod trouble;
pub mod upstream;
pub mod username;
pub mod violation;
#[cfg(target_family = "wasm")]
mod wasi;
