//! The GitHub Gists API as one WASI HTTP component.
//!
//! Two halves. The pure one decides without I/O: routes, queries, GitHub's answers, bodies. The stateful one
//! ([`service`]) is a request's way from top to bottom, over the ports of [`ports`]. Only `wasi` knows WASI.

pub mod entry;
pub mod freshness;
pub mod lease;
pub mod ports;
pub mod ring;
pub mod settings;
