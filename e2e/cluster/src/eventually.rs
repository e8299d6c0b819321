//! Waiting for what one wants to see, never for a time.

use std::time::{Duration, Instant};

use crate::fail;

/// For what takes seconds: a request that must get through, a series that must appear.
pub const SHORT: Duration = Duration::from_secs(60);

/// For what takes a rollout, an autoscaler or an image: generous, because two cores serve a whole cluster.
pub const LONG: Duration = Duration::from_secs(240);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// Asks until there is an answer, at most for [`SHORT`].
///
/// # Panics
/// When there is none in time, with the last reason.
#[track_caller]
pub fn eventually<T>(what: &str, ask: impl FnMut() -> Result<T, String>) -> T {
    eventually_within(SHORT, what, ask)
}

/// Asks until there is an answer, at most for `limit`.
///
/// # Panics
/// When there is none in time, with the last reason.
#[track_caller]
pub fn eventually_within<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let started = Instant::now();
    loop {
        match ask() {
            Ok(found) => return found,
            Err(reason) if started.elapsed() > limit => {
                fail(format!("not within {} s: {what}: {reason}", limit.as_secs()))
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
