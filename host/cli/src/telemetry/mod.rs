//! What the host tells of itself: log lines, metrics, and what guests print.

mod access;
mod exposition;
mod guest_output;
mod interfaces;
mod log;
mod metrics;
mod process;
mod sparing;
pub(crate) mod trace;

pub(crate) use access::{AccessLine, AccessLog};
pub(crate) use exposition::{Exposition, Kind};
pub(crate) use guest_output::{GuestOutput, GuestStream};
pub(crate) use interfaces::Interfaces;
pub(crate) use log::{Log, Sink};
pub(crate) use metrics::{EndReason, Gauge, HostMetrics, Metrics, Rejection, Reload, WorkerMetrics};
pub(crate) use process::expose as expose_process;
pub(crate) use sparing::Sparing;

/// The first `limit` bytes of `text`, cut between characters.
pub(crate) fn bounded(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}
