//! One line a fault.

use std::time::Duration;

use serde_json::{Value, json};

use crate::fault::{Failure, Run};
use crate::tally::Tally;

/// The widths of the columns before the last.
const NAME: usize = 22;
const DONE: usize = 70;
const ANSWERS: usize = 7;
const DEGRADED: usize = 30;
const LOST: usize = 7;

/// The heading.
pub(crate) fn heading() -> String {
    format!(
        "{:NAME$}  {:DONE$}  {:>ANSWERS$}  {:DEGRADED$}  {:LOST$}  normal after",
        "fault", "what was done", "answers", "degraded", "lost"
    )
}

/// A fault's line.
pub(crate) fn line(run: &Run) -> String {
    let name = run.name;
    match &run.outcome {
        Ok(shown) => {
            let (done, answers, degraded) = (&shown.done, shown.tally.total(), degraded(&shown.tally));
            let after = after(shown.normal_after);
            format!(
                "{name:NAME$}  {done:DONE$}  {answers:>ANSWERS$}  {degraded:DEGRADED$}  {:LOST$}  {after}",
                "nothing"
            )
        }
        Err(Failure::Broken(reason)) => format!("{name:NAME$}  FAILED: {reason}"),
        Err(Failure::NotHere(reason)) => format!("{name:NAME$}  NOT RUN: {reason}"),
    }
}

/// The same for programs.
pub(crate) fn json(run: &Run) -> Value {
    let took = run.took.as_secs_f64();
    match &run.outcome {
        Ok(shown) => json!({
            "fault": run.name, "outcome": "ok", "done": shown.done, "answers": shown.tally.total(), "lost": shown.tally.lost,
            "uncached": shown.tally.uncached, "stale": shown.tally.stale, "refused": shown.tally.refused,
            "retried": shown.tally.retried, "slowest_seconds": shown.tally.slowest.as_secs_f64(),
            "normal_after_seconds": shown.normal_after.as_secs_f64(), "took_seconds": took,
        }),
        Err(Failure::Broken(reason)) => {
            json!({ "fault": run.name, "outcome": "failed", "reason": reason, "took_seconds": took })
        }
        Err(Failure::NotHere(reason)) => json!({ "fault": run.name, "outcome": "not run", "reason": reason }),
    }
}

fn degraded(tally: &Tally) -> String {
    let mut parts = Vec::new();
    let mut part = |count: u64, what: &str| {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    };
    part(tally.uncached, "uncached");
    part(tally.stale, "stale");
    for (status, count) in &tally.refused {
        part(*count, &format!("× {status}"));
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

fn after(normal_after: Duration) -> String {
    if normal_after.is_zero() { "at once".to_owned() } else { format!("{:.2} s", normal_after.as_secs_f64()) }
}
