//! A limit on log lines that requests cause. A component whose requests are denied a million times, or that traps
//! at each request, does not fill the disk.

use crate::lock;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Lines of one kind in each [`PERIOD`]. The first line of the next period has the number of suppressed lines.
const LINES: u32 = 50;
const PERIOD: Duration = Duration::from_secs(5);

/// Admits 50 lines of one kind in 5 seconds, and counts the lines that it suppresses.
#[derive(Debug)]
pub struct LogThrottle(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    since: Option<Instant>,
    admitted: u32,
    suppressed: u64,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl LogThrottle {
    /// Creates a throttle for one kind of line. `const`, so that a `static` beside the log call can hold the
    /// throttle.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(State { since: None, admitted: 0, suppressed: 0 }))
    }

    /// Asks whether the caller may log now. `Some` admits the line, and has the number of lines suppressed since
    /// the last admitted line.
    pub fn admit(&self) -> Option<u64> {
        lock(&self.0).admit(Instant::now())
    }
}

impl State {
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.since.is_none_or(|since| now.duration_since(since) >= PERIOD) {
            (self.since, self.admitted) = (Some(now), 0);
        }
        if self.admitted >= LINES {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.admitted += 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_so_many_lines_and_the_next_tells_what_was_left_out() {
        let (mut state, start) = (State::default(), Instant::now());
        let admitted = (0..1000).filter(|_| state.admit(start).is_some()).count();
        assert_eq!(admitted, LINES as usize);
        assert_eq!(state.admit(start + PERIOD / 2), None);
        assert_eq!(state.admit(start + PERIOD), Some(1000 - u64::from(LINES) + 1));
        assert_eq!(state.admit(start + PERIOD), Some(0));
    }
}
