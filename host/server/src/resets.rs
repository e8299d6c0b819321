//! A rate limit on the requests that a connection's client resets before the response's head (CVE-2023-44487).
//!
//! A reset costs the client one frame, and the host a request. The limit of streams does not bound resets, because a
//! stream that was reset no longer counts.

use std::time::{Duration, Instant};

/// Requests that a client may reset at once: all streams that a connection may have.
const BURST: u32 = 256;
/// Each time, a client may reset one more request. A client that holds requests until they change is not a flood.
const REFILL: Duration = Duration::from_millis(100);

/// The resets that a connection's client may still send. Each request with a response allows one more reset: a gateway
/// has many clients on one connection, and some of them leave.
#[derive(Debug)]
pub(super) struct ResetBudget {
    left: u32,
    /// When the time last allowed resets.
    refilled: Instant,
    /// Number of requests with a response, at the last reset. The number may wrap.
    answered: u32,
    /// Number of resets. The number may wrap.
    resets: u32,
}

impl ResetBudget {
    pub(super) fn new(now: Instant) -> Self {
        Self { left: BURST, refilled: now, answered: 0, resets: 0 }
    }

    /// Counts a reset. `over` is the number of the connection's requests that have ended, this one included; the number
    /// may wrap. Returns whether the client has sent too many resets.
    pub(super) fn is_exceeded(&mut self, over: u32, now: Instant) -> bool {
        self.resets = self.resets.wrapping_add(1);
        let answered = over.wrapping_sub(self.resets);
        let by_answers = answered.wrapping_sub(std::mem::replace(&mut self.answered, answered));
        let elapsed = now.saturating_duration_since(self.refilled);
        let by_time = u32::try_from(elapsed.as_millis() / REFILL.as_millis()).unwrap_or(BURST).min(BURST);
        if by_time > 0 {
            self.refilled = now;
        }
        self.left = self.left.saturating_add(by_answers).saturating_add(by_time).min(BURST);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                false
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of resets that a new connection may send, with this time and these answers before each of them. At
    /// most 10,000.
    fn allowed(pause: Duration, answers: u32) -> u32 {
        let mut now = Instant::now();
        let mut budget = ResetBudget::new(now);
        let mut over = 0u32;
        (0..10_000)
            .find(|_| {
                now += pause;
                over = over.wrapping_add(answers + 1);
                budget.is_exceeded(over, now)
            })
            .unwrap_or(10_000)
    }

    #[test]
    fn resets_are_limited_unless_requests_are_answered_or_time_passes() {
        assert_eq!(allowed(Duration::ZERO, 0), BURST);
        assert_eq!(allowed(REFILL / 2, 0), 2 * BURST);
        assert_eq!(allowed(REFILL, 0), 10_000);
        assert_eq!(allowed(Duration::ZERO, 1), 10_000);
    }
}
