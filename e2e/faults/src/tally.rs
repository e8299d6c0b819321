//! Counts of the responses to a load.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::traffic::Grade;

/// Reasons of losses that are kept.
const MAX_REASONS: usize = 12;

/// Counts of responses.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Responses of each host.
    pub(crate) answers: Vec<u64>,
    /// Responses that should have come from the cache and did not.
    pub(crate) uncached: u64,
    /// Responses that were marked as stale.
    pub(crate) stale: u64,
    /// Documented errors that the fault explains, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// Requests without a correct response that the fault does not explain.
    pub(crate) lost: u64,
    /// The reasons of the first losses.
    pub(crate) reasons: Vec<String>,
    /// Requests that were sent to another host, because the fault ended the first one.
    pub(crate) retried: u64,
    /// The longest time that a client waited.
    pub(crate) slowest: Duration,
    /// The time of the last retry.
    pub(crate) last_retried: Option<Instant>,
    /// The time of the last degraded or lost response.
    pub(crate) last_abnormal: Option<Instant>,
    /// Responses since then.
    pub(crate) normal_run: u64,
    /// The time at which each client began its current request.
    pub(crate) begun: Vec<Option<Instant>>,
}

impl Tally {
    /// The number of responses.
    pub(crate) fn total(&self) -> u64 {
        self.answers.iter().sum()
    }

    /// The number of degraded responses.
    pub(crate) fn degraded(&self) -> u64 {
        self.uncached + self.stale + self.refused.values().sum::<u64>()
    }
}

impl Tally {
    /// Counts a response outside of a load, or its problem.
    pub(crate) fn add(&mut self, problem: Option<String>) {
        match problem {
            Some(reason) => self.lose(reason),
            None => match self.answers.first_mut() {
                Some(answers) => *answers += 1,
                None => self.answers.push(1),
            },
        }
    }

    /// Adds the counts of another load.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.answers.extend(other.answers);
        self.uncached += other.uncached;
        self.stale += other.stale;
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
        self.lost += other.lost;
        self.reasons.extend(other.reasons);
        self.retried += other.retried;
        self.slowest = self.slowest.max(other.slowest);
    }

    /// Counts a lost request.
    pub(crate) fn lose(&mut self, reason: String) {
        self.lost += 1;
        self.abnormal();
        if self.reasons.len() < MAX_REASONS {
            self.reasons.push(reason);
        }
    }

    fn abnormal(&mut self) {
        self.last_abnormal = Some(Instant::now());
        self.normal_run = 0;
    }

    /// Counts a response.
    pub(crate) fn count(&mut self, target: &str, grade: Grade, allowed: &[u16]) {
        match grade {
            Grade::Right => self.normal_run += 1,
            Grade::Uncached => {
                self.uncached += 1;
                self.abnormal();
            }
            Grade::Stale => {
                self.stale += 1;
                self.abnormal();
            }
            Grade::Refused(status) if allowed.contains(&status) => {
                *self.refused.entry(status).or_default() += 1;
                self.abnormal();
            }
            Grade::Refused(status) => {
                self.lose(format!("GET {target}: {status}, which the fault does not explain"));
            }
            Grade::Wrong(answer) => self.lose(format!("GET {target}: {answer}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_the_fault_is_no_reason_for_is_a_loss() {
        let mut tally = Tally::default();
        tally.count("/", Grade::Refused(504), &[504]);
        assert_eq!((tally.lost, tally.degraded()), (0, 1));
        tally.count("/", Grade::Refused(502), &[504]);
        tally.count("/", Grade::Wrong("500".to_owned()), &[504]);
        assert_eq!((tally.lost, tally.degraded(), tally.normal_run), (2, 1, 0));
        assert!(tally.last_abnormal.is_some() && tally.reasons.len() == 2);
    }
}
