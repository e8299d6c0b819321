//! The quantities that settings are written in, and the least of some.

#[path = "../../host/cli/src/config/least.rs"]
mod least;
#[path = "../../host/cli/src/config/units.rs"]
mod units;

pub(crate) use least::{LEAST_MEMORY, LEAST_REQUEST_TIMEOUT};
pub use units::{ByteSize, Period};
