//! Times in the form that stored values have: whole milliseconds.

use std::time::Duration;

/// `time` in whole milliseconds, rounded down; `u64::MAX` if it does not fit.
#[must_use]
pub fn millis(time: Duration) -> u64 {
    time.as_secs().saturating_mul(1000).saturating_add(time.subsec_millis().into())
}
