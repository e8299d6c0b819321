//! What a fault is, and how one is run.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::{Duration, Instant};

use futures::FutureExt as _;

use crate::system::NotHere;
use crate::tally::Tally;

/// How a fault ended.
pub(crate) type Outcome = Result<Shown, Failure>;

/// What was seen.
pub(crate) struct Shown {
    /// What was done, in the report's words.
    pub(crate) done: String,
    /// How clients fared.
    pub(crate) tally: Tally,
    /// From the fault's end until the last degraded answer.
    pub(crate) normal_after: Duration,
}

/// Why a fault has no outcome.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Something that must hold does not.
    Broken(String),
    /// It cannot be brought about here.
    NotHere(String),
}

impl From<String> for Failure {
    fn from(reason: String) -> Self {
        Self::Broken(reason)
    }
}

impl From<NotHere> for Failure {
    fn from(NotHere(reason): NotHere) -> Self {
        Self::NotHere(reason)
    }
}

/// Fails with the message unless the condition holds.
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
    /// What it is called by.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) about: &'static str,
    /// Brings it about.
    pub(crate) run: fn() -> Running,
}

/// A fault as it went.
pub(crate) struct Run {
    pub(crate) name: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
}

impl Fault {
    /// Runs it; whatever it panics with is a failure of its own. Lost requests are one too.
    pub(crate) async fn bring_about(&self) -> Run {
        let begun = Instant::now();
        let outcome = AssertUnwindSafe((self.run)()).catch_unwind().await.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text =
                text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words");
            Err(Failure::Broken(text.to_owned()))
        });
        let outcome = outcome.and_then(|shown| {
            if shown.tally.lost == 0 {
                return Ok(shown);
            }
            let (lost, reasons) = (shown.tally.lost, shown.tally.reasons.join("\n    "));
            Err(Failure::Broken(format!("{}: {lost} lost\n    {reasons}", shown.done)))
        });
        Run { name: self.name, outcome, took: begun.elapsed() }
    }
}
