//! What clients ask for, and what answers are right.

mod gists;
mod guest;

use e2e::Dice;
use e2e::harness::Reply;

pub(crate) use gists::{Gists, Mix, POPULAR, people};
pub(crate) use guest::Guest;

/// What an answer is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grade {
    /// As if nothing had happened.
    Right,
    /// Right, but not from the cache, where it should have been.
    Uncached,
    /// Right, and said to be old.
    Stale,
    /// The documented error for what is wrong.
    Refused(u16),
    /// Anything else.
    Wrong(String),
}

/// One request, and what to make of its answer.
pub(crate) struct Task {
    /// Path and query of a GET.
    pub(crate) target: String,
    /// Grades the answer.
    pub(crate) judge: Box<dyn Fn(&Reply) -> Grade + Send + Sync>,
}

/// Where requests come from.
pub(crate) trait Traffic: Send + Sync + 'static {
    /// The next one.
    fn draw(&self, dice: &mut Dice) -> Task;
}

/// An answer in so many words, for a report.
pub(crate) fn shown(reply: &Reply) -> String {
    let body = String::from_utf8_lossy(&reply.body);
    let body: String = body.chars().take(160).collect();
    format!("{} {body}", reply.status)
}
