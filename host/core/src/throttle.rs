//! A bound on log lines that requests cause: a component that is denied a million requests, or traps at each, does not
//! fill the disk.

use crate::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lines of one kind in a [`PERIOD`]. The next line after it says how many were left out.
const LINES: u32 = 50;
const PERIOD: Duration = Duration::from_secs(5);

/// Lets 50 lines of one kind through in 5 seconds, and counts the others.
#[derive(Debug)]
pub struct LogThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    said: u32,
    left_out: u64,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl LogThrottle {
    /// A throttle for one kind of line. `const`, so that it can be a `static` beside the line.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(State { since: None, said: 0, left_out: 0 }))
    }

    /// `Some` when the caller may log now, with the number of lines that were left out since the last one.
    pub fn admit(&self) -> Option<u64> {
        lock(&self.0).admit(Instant::now())
    }
}

impl State {
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            (self.since, self.said) = (Some(now), 0);
        }
        if self.said >= LINES {
            self.left_out = self.left_out.saturating_add(1);
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_so_many_lines_and_the_next_tells_what_was_left_out() {
        let (mut state, start) = (State::default(), Instant::now());
        let said = (0..1000).filter(|_| state.admit(start).is_some()).count();
        assert_eq!(said, LINES as usize);
        assert_eq!(state.admit(start + PERIOD / 2), None);
        assert_eq!(state.admit(start + PERIOD), Some(1000 - u64::from(LINES) + 1));
        assert_eq!(state.admit(start + PERIOD), Some(0));
    }
}
