//! The report: one line for each fault.

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

/// The heading of the table.
pub(crate) fn heading() -> String {
    format!(
        "{:NAME$}  {:DONE$}  {:>ANSWERS$}  {:DEGRADED$}  {:LOST$}  normal after",
        "fault", "what was done", "answers", "degraded", "lost"
    )
}

/// The line of a fault.
pub(crate) fn line(run: &Run) -> String {
    let name = run.name;
    match &run.outcome {
        Ok(shown) => {
            let (done, answers, degraded) = (&shown.done, shown.tally.total(), degraded(&shown.tally));
            let after = after(shown.recovered_after);
            format!(
                "{name:NAME$}  {done:DONE$}  {answers:>ANSWERS$}  {degraded:DEGRADED$}  {:LOST$}  {after}",
                "nothing"
            )
        }
        Err(Failure::Violated(reason)) => format!("{name:NAME$}  FAILED: {reason}"),
        Err(Failure::NotRunnable(reason)) => format!("{name:NAME$}  NOT RUN: {reason}"),
    }
}

/// The report of a fault as JSON.
pub(crate) fn json(run: &Run) -> Value {
    let took = run.took.as_secs_f64();
    match &run.outcome {
        Ok(shown) => json!({
            "fault": run.name, "outcome": "ok", "done": shown.done, "answers": shown.tally.total(), "lost": shown.tally.lost,
            "uncached": shown.tally.uncached, "stale": shown.tally.stale, "refused": shown.tally.refused,
            "retried": shown.tally.retried, "slowest_seconds": shown.tally.slowest.as_secs_f64(),
            "normal_after_seconds": shown.recovered_after.as_secs_f64(), "took_seconds": took,
        }),
        Err(Failure::Violated(reason)) => {
            json!({ "fault": run.name, "outcome": "failed", "reason": reason, "took_seconds": took })
        }
        Err(Failure::NotRunnable(reason)) => {
            json!({ "fault": run.name, "outcome": "not run", "reason": reason })
        }
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

fn after(recovered_after: Duration) -> String {
    if recovered_after.is_zero() {
        "at once".to_owned()
    } else {
        format!("{:.2} s", recovered_after.as_secs_f64())
    }
}
