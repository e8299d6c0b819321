//! The GitHub Gists API as one WASI HTTP component.
//!
//! Two halves. The pure one decides without I/O: routes, queries, GitHub's answers, bodies. The stateful one
//! ([`service`]) is a request's way from top to bottom, over the ports of [`ports`]. Only `wasi` knows WASI.

pub mod accept;
pub mod answer;
pub mod conditional;
pub mod docs;
pub mod entry;
pub mod error;
pub mod fingerprint;
pub mod freshness;
pub mod gist;
pub mod http_date;
pub mod lease;
pub mod link;
pub mod number;
pub mod openapi;
pub mod percent;
pub mod ports;
pub mod problem;
pub mod query;
pub mod redirect;
pub mod ring;
pub mod route;
pub mod settings;
pub mod username;
pub mod violation;
