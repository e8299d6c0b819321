//! Waiting for a condition.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Time for a condition that must become true, on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Repeats `check` until it returns a value. Panics after 60 s with `what`.
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {} s: {what}", TIMEOUT.as_secs());
        thread::sleep(Duration::from_millis(50));
    }
}
