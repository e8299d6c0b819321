//! Times in the form that stored values have: whole milliseconds.

use std::time::Duration;

/// `time` in whole milliseconds, rounded down; `u64::MAX` if it does not fit.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
