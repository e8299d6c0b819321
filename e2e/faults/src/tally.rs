//! What came of the requests of a load.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::traffic::Grade;

/// Reasons that are kept of what was lost.
const MAX_REASONS: usize = 12;

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// Answers of each address.
    pub(crate) answers: Vec<u64>,
    /// Answers that should have come from the cache and did not.
    pub(crate) uncached: u64,
    /// Answers that said to be old.
    pub(crate) stale: u64,
    /// Documented errors that were tolerated, by status.
    pub(crate) refused: BTreeMap<u16, u64>,
    /// What a client saw fail that the fault is no reason for: requests without an answer, or with a wrong one.
    pub(crate) lost: u64,
    /// Why, of the first.
    pub(crate) reasons: Vec<String>,
    /// Requests that another host answered, for the fault was that the first one goes.
    pub(crate) retried: u64,
    /// The longest that a client waited.
    pub(crate) slowest: Duration,
    /// When the last of them did.
    pub(crate) last_retried: Option<Instant>,
    /// When the last degraded or lost answer came.
    pub(crate) last_abnormal: Option<Instant>,
    /// Answers since, none of them degraded.
    pub(crate) normal_run: u64,
    /// When each client last began.
    pub(crate) begun: Vec<Option<Instant>>,
}

impl Tally {
    /// All answers.
    pub(crate) fn total(&self) -> u64 {
        self.answers.iter().sum()
    }

    /// Answers that were not as if nothing had happened.
    pub(crate) fn degraded(&self) -> u64 {
        self.uncached + self.stale + self.refused.values().sum::<u64>()
    }
}

impl Tally {
    /// Counts an answer that another than a load got, or what was wrong with it.
    pub(crate) fn add(&mut self, problem: Option<String>) {
        match problem {
            Some(reason) => self.lose(reason),
            None => match self.answers.first_mut() {
                Some(answers) => *answers += 1,
                None => self.answers.push(1),
            },
        }
    }

    /// Adds what came of another load.
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

    /// A request has no answer, or none that is documented.
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

    /// Counts an answer.
    pub(crate) fn count(&mut self, target: &str, grade: Grade, tolerates: &[u16]) {
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
            Grade::Refused(status) if tolerates.contains(&status) => {
                *self.refused.entry(status).or_default() += 1;
                self.abnormal();
            }
            Grade::Refused(status) => {
                self.lose(format!("GET {target}: {status}, which this fault is no reason for"));
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
