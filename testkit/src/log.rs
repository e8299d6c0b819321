//! What the host writes to its standard output and standard error.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Index;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::sync::watch;

use crate::wait::DEADLINE;

/// Lines kept; the oldest are dropped first.
const MAX_LINES: usize = 20_000;

/// Lines that [`Log::tail`] shows.
const TAIL: usize = 40;

/// What the test does with the host's output pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogReading {
    /// Reads each line as it comes.
    On,
    /// Keeps the pipes open and reads nothing: the pipes fill up.
    Held,
    /// Closes the pipes: the host's writes fail from now on.
    Closed,
}

/// Which of the two pipes a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// The host's output, line by line, while it comes. Clones share the lines.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Notified at each line and at the end of a pipe.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    lines: VecDeque<LogLine>,
    /// A line of standard output that is no JSON object: the host promises one object a line.
    malformed: Option<String>,
    /// Pipes that are still being read.
    open: usize,
}

/// One line. `line["message"]` is the member of the JSON object; null where there is none.
#[derive(Clone)]
pub struct LogLine {
    /// The line as written.
    pub text: String,
    /// The line as JSON; null for text of standard error that is no JSON.
    pub json: Value,
}

impl LogLine {
    /// A top-level member that is a string.
    #[must_use]
    pub fn get(&self, member: &str) -> Option<&str> {
        self.json.get(member)?.as_str()
    }

    /// Whether the member `message` contains `text`.
    #[must_use]
    pub fn message_contains(&self, text: &str) -> bool {
        self.get("message").is_some_and(|message| message.contains(text))
    }
}

impl Index<&str> for LogLine {
    type Output = Value;

    fn index(&self, member: &str) -> &Value {
        self.json.get(member).unwrap_or(&Value::Null)
    }
}

impl fmt::Debug for LogLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl fmt::Display for LogLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

impl Log {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::default(), changed: watch::Sender::new(()) }) }
    }

    /// Reads a pipe of the host in a task of its own.
    pub(crate) fn read(
        &self,
        pipe: impl AsyncRead + Send + Unpin + 'static,
        stream: Stream,
        reading: watch::Receiver<LogReading>,
    ) {
        self.lock().open += 1;
        let log = self.clone();
        tokio::spawn(async move {
            log.copy(pipe, stream, reading).await;
            log.lock().open -= 1;
            log.shared.changed.send_replace(());
        });
    }

    async fn copy(
        &self,
        pipe: impl AsyncRead + Unpin,
        stream: Stream,
        mut reading: watch::Receiver<LogReading>,
    ) {
        let mut lines = BufReader::new(pipe).lines();
        loop {
            let now = *reading.borrow_and_update();
            tokio::select! {
                line = lines.next_line(), if now == LogReading::On => match line {
                    Ok(Some(line)) => self.push(line, stream),
                    Ok(None) | Err(_) => return,
                },
                changed = reading.changed() => {
                    if changed.is_err() || *reading.borrow() == LogReading::Closed {
                        return;
                    }
                }
            }
        }
    }

    fn push(&self, text: String, stream: Stream) {
        let json: Value = serde_json::from_str(&text).unwrap_or_default();
        let mut state = self.lock();
        if stream == Stream::Stdout && !json.is_object() {
            state.malformed.get_or_insert_with(|| text.clone());
        }
        if state.lines.len() == MAX_LINES {
            state.lines.pop_front();
        }
        state.lines.push_back(LogLine { text, json });
        drop(state);
        self.shared.changed.send_replace(());
    }

    /// The lines so far, oldest first.
    #[must_use]
    pub fn lines(&self) -> Vec<LogLine> {
        self.checked().lines.iter().cloned().collect()
    }

    /// The first line so far for which `wanted` holds.
    #[must_use]
    pub fn find(&self, wanted: impl Fn(&LogLine) -> bool) -> Option<LogLine> {
        self.checked().lines.iter().find(|line| wanted(line)).cloned()
    }

    /// Waits for the first line, past or future, for which `wanted` holds. Panics after [`DEADLINE`], or as soon as the host has
    /// closed both pipes.
    #[expect(clippy::panic, reason = "how a test reports a missing line")]
    pub async fn wait_for_line(&self, wanted: impl Fn(&LogLine) -> bool) -> LogLine {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                // In this order: a line that comes before the end of the pipe is seen.
                let ended = self.lock().open == 0;
                if let Some(line) = self.find(&wanted) {
                    return line;
                }
                assert!(!ended, "the host has ended without such a line; its log:\n{}", self.tail());
                // The sender lives as long as `self` does.
                let _ = changed.changed().await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting)
            .await
            .unwrap_or_else(|_| panic!("no such line in the log:\n{}", self.tail()))
    }

    /// Waits until the host has closed both pipes, that is, until the log is complete.
    #[expect(clippy::panic, reason = "how a test reports a hang")]
    pub async fn ended(&self) {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            loop {
                changed.borrow_and_update();
                if self.lock().open == 0 {
                    return;
                }
                // The sender lives as long as `self` does.
                let _ = changed.changed().await;
            }
        };
        tokio::time::timeout(DEADLINE, waiting)
            .await
            .unwrap_or_else(|_| panic!("the host keeps its output open:\n{}", self.tail()));
    }

    /// Whether the text occurs in any line so far.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.find(|line| line.text.contains(text)).is_some()
    }

    /// All lines so far as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines().iter().map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
    }

    /// The last lines, for the message of a failure.
    #[must_use]
    pub fn tail(&self) -> String {
        let state = self.lock();
        let tail: Vec<_> = state.lines.iter().rev().take(TAIL).map(|line| line.text.as_str()).collect();
        tail.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// The state, once it is known that each line of standard output is a JSON object.
    fn checked(&self) -> MutexGuard<'_, State> {
        let state = self.lock();
        assert!(
            state.malformed.is_none(),
            "the host wrote a line that is no JSON object: {:?}",
            state.malformed
        );
        state
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
