//! What every part of the host shares, and none of it knows of WebAssembly: units of settings, counters and the text
//! format in which Prometheus reads them, bounded logging, and bounded holding of what a guest is given to read.

mod counter;
mod exposition;
mod held;
pub mod histogram;
mod lock;
mod redacted;
mod setting;
mod text;
mod throttle;
mod units;

pub use counter::{Counter, Gauge};
pub use exposition::{Exposition, Kind as MetricKind};
pub use held::Held;
pub use lock::lock;
pub use redacted::{Redacted, assigned_name};
pub use setting::{InvalidSetting, Secret};
pub use text::bounded;
pub use throttle::LogThrottle;
pub use units::{ByteSize, Period};

/// The store that every host has: memory of the process's own, shared with no other process.
pub const DEFAULT_STORE: &str = "default";
