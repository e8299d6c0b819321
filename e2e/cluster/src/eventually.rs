//! Bounded waiting on a cluster.

use std::time::Duration;

/// The limit for what takes seconds: a route of the gateway, a time series.
pub const SHORT: Duration = Duration::from_secs(60);

/// The limit for a rollout, an autoscaler or an image. It is long, because two cores may serve the whole cluster.
pub const LONG: Duration = Duration::from_secs(240);

/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// Calls `ask` until it returns `Ok`, at most for [`SHORT`].
///
/// # Panics
/// If it does not in time, with the last error.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(SHORT, what, ask)
}

/// Calls `ask` until it returns `Ok`, at most for `limit`.
///
/// # Panics
/// If it does not in time, with the last error.
#[track_caller]
pub fn eventually_within<T>(limit: Duration, what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    testkit::wait::eventually_within(limit, PAUSE, what, ask)
}
