//! Faults and their outcomes.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::FutureExt as _;

use crate::system::NotRunnable;
use crate::tally::Tally;

/// The outcome of a fault.
pub(crate) type Outcome = Result<Observed, Failure>;

/// What the load showed.
pub(crate) struct Observed {
    /// What was done, for the report.
    pub(crate) done: String,
    /// The results of the load.
    pub(crate) tally: Tally,
    /// The time from the fault's end to the last degraded response.
    pub(crate) recovered_after: Duration,
}

/// Why a fault failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A requirement is violated.
    Violated(String),
    /// The fault cannot be injected on this machine or by this user.
    NotRunnable(String),
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Violated(reason)
    }
}

impl From<NotRunnable> for Failure {
    fn from(NotRunnable(reason): NotRunnable) -> Self {
        Self::NotRunnable(reason)
    }
}

/// Returns an error with this message unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        let holds: bool = $condition;
        if !holds {
            return Err(format!($($message)+).into());
        }
    };
}
pub(crate) use ensure;

type Running = Pin<Box<dyn Future<Output = Outcome>>>;

/// A fault.
pub(crate) struct Fault {
    /// The name, for `--only`.
    pub(crate) name: &'static str,
    /// What happens, in one sentence.
    pub(crate) about: &'static str,
    /// Injects the fault.
    pub(crate) run: fn() -> Running,
}

/// The run of a fault.
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

impl Fault {
    /// Injects the fault. A panic and lost requests are failures.
    pub(crate) async fn inject(&self) -> Run {
        let begun = Instant::now();
        let outcome = AssertUnwindSafe((self.run)()).catch_unwind().await.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message");
            Err(Failure::Violated(text.to_owned()))
        });
        let outcome = outcome.and_then(|shown| {
            if shown.tally.lost == 0 {
                return Ok(shown);
            }
            let (lost, reasons) = (shown.tally.lost, shown.tally.reasons.join("\n    "));
            Err(Failure::Violated(format!("{}: {lost} lost\n    {reasons}", shown.done)))
        });
        Run { name: self.name, outcome, took: begun.elapsed() }
    }
}
