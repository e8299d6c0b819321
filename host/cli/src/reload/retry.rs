//! Decides when to retry a change that could not be served.

use std::time::Duration;

use tokio::time::Instant;

/// The first and the longest pause between two attempts.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The retry of a change that could not be served for a temporary reason. The pause doubles with each attempt.
#[derive(Default)]
pub(super) struct Retry {
    pause: Duration,
    at: Option<Instant>,
}

impl Retry {
    /// Schedules the next attempt after a failure.
    pub(super) fn later(&mut self) {
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        self.at = Some(Instant::now() + self.pause);
    }

    /// Cancels the retry and resets the pause.
    pub(super) fn never(&mut self) {
        *self = Self::default();
    }

    /// Waits until the next attempt is due. Never returns if no attempt is scheduled.
    pub(super) async fn due(&self) {
        match self.at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test(start_paused = true)]
    async fn tries_are_ever_further_apart_up_to_a_minute_and_end_with_the_failure() {
        let mut retry = Retry::default();
        assert!(retry.due().now_or_never().is_none(), "nothing has failed");
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let failed = Instant::now();
            retry.later();
            retry.due().await;
            pauses.push(failed.elapsed().as_secs());
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        retry.never();
        assert!(retry.due().now_or_never().is_none());
        let failed = Instant::now();
        retry.later();
        retry.due().await;
        assert_eq!(failed.elapsed().as_secs(), 1, "another failure begins anew");
    }
}
