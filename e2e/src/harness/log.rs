//! What the host writes.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Lines kept; the oldest go first.
const MAX_LINES: usize = 20_000;

/// The host's standard output and error, line by line, as they come.
#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<Mutex<VecDeque<Line>>>,
}

/// A line of it.
#[derive(Debug, Clone)]
pub struct Line {
    /// As written.
    pub text: String,
    /// As JSON; null where it is none.
    pub json: Value,
}

impl Line {
    /// A top-level member that is a string.
    #[must_use]
    pub fn get(&self, member: &str) -> Option<&str> {
        self.json.get(member)?.as_str()
    }
}

impl Log {
    pub(super) fn push(&self, text: String) {
        let json = serde_json::from_str(&text).unwrap_or_default();
        let mut lines = self.lock();
        if lines.len() == MAX_LINES {
            lines.pop_front();
        }
        lines.push_back(Line { text, json });
    }

    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        self.lock().iter().cloned().collect()
    }

    /// The first line that `wanted` accepts.
    #[must_use]
    pub fn find(&self, wanted: impl Fn(&Line) -> bool) -> Option<Line> {
        self.lock().iter().find(|line| wanted(line)).cloned()
    }

    /// Whether the text occurs anywhere.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.find(|line| line.text.contains(text)).is_some()
    }

    /// The last lines, for a failure's message.
    #[must_use]
    pub fn tail(&self) -> String {
        let lines = self.lock();
        let tail: Vec<_> = lines.iter().rev().take(40).map(|line| line.text.as_str()).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
