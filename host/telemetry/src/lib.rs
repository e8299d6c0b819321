//! The host's log lines, the kernel's metrics of the process, and traces.
//!
//! Metrics of requests, instances, stores and the like are in the crates that own them.

mod access;
mod config;
mod log;
mod process;
pub mod trace;

pub use access::{AccessLine, AccessLog, CertificateNames};
pub use config::{LogConfig, LogFormat, Switch};
pub use log::{Log, Sink, with_colours};
pub use process::expose as expose_process;
