//! What the host says of itself: log lines, what the kernel counts of the process, and traces.
//!
//! What is counted of requests, instances, stores and the like is counted, and written out, by the crates that own them.

mod access;
mod config;
mod log;
mod process;
pub mod trace;

pub use access::{AccessLine, AccessLog};
pub use config::{LogConfig, LogFormat, Switch};
pub use log::{Log, Sink};
pub use process::expose as expose_process;
