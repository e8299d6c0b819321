//! Basics that all crates of the host share. None of them depends on WebAssembly: units of settings, counters and
//! the Prometheus text format, limits on log lines, values that a guest may use until a deadline, and HTTP bodies
//! within limits.

mod body;
mod component_metrics;
mod counter;
pub mod environment;
mod exposition;
pub mod forwarded;
mod held;
pub mod histogram;
mod lock;
mod redacted;
mod setting;
mod text;
mod throttle;
mod units;
mod unreadable;

pub use body::{BodyFailure, BodyLimits, LimitedBody, add_to_hint};
pub use component_metrics::InvalidMetrics;
pub use counter::{Counter, Gauge};
pub use exposition::{Exposition, Kind as MetricKind};
pub use held::Held;
pub use lock::lock;
pub use redacted::{Redacted, assigned_name};
pub use setting::{InvalidSetting, Secret};
pub use text::{BoundedError, bounded};
pub use throttle::LogThrottle;
pub use units::{ByteSize, Period};
pub use unreadable::unreadable;

/// The name of the key-value store that every host has. The store is in the process's memory, and no other process
/// shares it.
pub const DEFAULT_STORE: &str = "default";
