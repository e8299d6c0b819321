//! Log lines on standard output. A separate thread writes them, so that a slow reader of standard output does not
//! delay requests.

use std::{
    ffi::OsStr,
    io::{self, IsTerminal, Write},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use tracing_subscriber::{
    filter::Targets, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use wasi_http_host_core::lock;

use super::{LogConfig, LogFormat};

/// The common prefix of the names of the host's crates and program. Events have these names as their targets.
const OURS: &str = "wasi_http_host";
/// Maximum number of bytes that wait to be written. The sink drops lines beyond this limit and counts them.
const MAX_BUFFERED: usize = 4 << 20;
/// Maximum number of bytes of a line. Texts from outside are cut where they are logged; this is for the lines of
/// libraries. A longer line is dropped and counted, because the part of a JSON document is none.
const MAX_LINE: usize = 256 << 10;
/// The writer thread waits this long before a write, so that it wakes up less often and writes several lines at
/// once.
const GATHER: Duration = Duration::from_millis(5);

/// The queue of the thread that writes log lines. A clone is cheap and shares the queue.
#[derive(Clone)]
pub struct Sink {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    writing: bool,
    dropped: u64,
}

impl Sink {
    /// Starts a thread that writes to standard output.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn stdout() -> io::Result<Self> {
        Self::to(io::stdout())
    }

    fn to(mut out: impl Write + Send + 'static) -> io::Result<Self> {
        let sink = Self { shared: Arc::default() };
        let shared = sink.shared.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || {
            let mut bytes = Vec::new();
            loop {
                shared.next(&mut bytes);
                // If standard output is closed, there is nowhere to report the error.
                let _ = out.write_all(&bytes).and_then(|()| out.flush());
                bytes.clear();
            }
        })?;
        Ok(sink)
    }

    /// Queues `line`, which must end with a newline. Never waits: if the line is too long, or the queue has no room, the
    /// line is dropped and counted.
    pub fn write(&self, line: &[u8]) {
        let mut buffer = lock(&self.shared.buffer);
        if line.len() > MAX_LINE || buffer.bytes.len() + line.len() > MAX_BUFFERED {
            buffer.dropped += 1;
            return;
        }
        let first = buffer.bytes.is_empty();
        buffer.bytes.extend_from_slice(line);
        drop(buffer);
        if first {
            self.shared.filled.notify_one();
        }
    }

    /// Number of lines dropped since the start.
    pub fn dropped(&self) -> u64 {
        lock(&self.shared.buffer).dropped
    }

    /// Waits until the thread has written all queued lines, at most for `limit`.
    pub fn flush(&self, limit: Duration) {
        let buffer = lock(&self.shared.buffer);
        drop(self.shared.emptied.wait_timeout_while(buffer, limit, |b| b.writing || !b.bytes.is_empty()));
    }
}

impl Shared {
    /// Waits for lines, waits [`GATHER`] for more lines, and moves all of them to `into`.
    fn next(&self, into: &mut Vec<u8>) {
        let mut buffer = lock(&self.buffer);
        buffer.writing = false;
        if buffer.bytes.is_empty() {
            self.emptied.notify_all();
            while buffer.bytes.is_empty() {
                buffer = self.filled.wait(buffer).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
            drop(buffer);
            thread::sleep(GATHER);
            buffer = lock(&self.buffer);
        }
        buffer.writing = true;
        std::mem::swap(&mut buffer.bytes, into);
    }
}

/// Each `tracing` event becomes one line.
impl<'a> MakeWriter<'a> for Sink {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter { sink: self.clone(), line: Vec::with_capacity(256) }
    }
}

/// Collects the text of one event, and queues the line when it is dropped.
pub struct LineWriter {
    sink: Sink,
    line: Vec<u8>,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // The first bytes beyond the limit show the sink that the line is too long.
        let room = (MAX_LINE + 1).saturating_sub(self.line.len());
        self.line.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LineWriter {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.sink.write(&self.line);
        }
    }
}

/// Whether lines for `stream` have colours: only on a terminal, and not if the variable `NO_COLOR` is set
/// (<https://no-color.org>).
pub fn with_colours(stream: &impl IsTerminal) -> bool {
    has_colours(stream.is_terminal(), std::env::var_os("NO_COLOR").as_deref())
}

fn has_colours(is_terminal: bool, no_color: Option<&OsStr>) -> bool {
    is_terminal && no_color.is_none_or(OsStr::is_empty)
}

/// The log of the process: where lines go, their format and their level.
#[derive(Clone)]
pub struct Log {
    /// The queue of the thread that writes lines.
    pub sink: Sink,
    /// The format of lines.
    pub format: LogFormat,
    /// The lowest level that is written.
    pub level: tracing::Level,
}

impl Log {
    /// Creates a log on standard output by `config`.
    ///
    /// # Errors
    /// When the system cannot start the thread that writes lines.
    pub fn new(config: &LogConfig) -> io::Result<Self> {
        let terminal = io::stdout().is_terminal();
        let format = config.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
        Ok(Self { sink: Sink::stdout()?, format, level: config.log_level })
    }

    /// Admits events of the host at the configured level. Events of libraries are admitted only from `WARN`
    /// upwards, because at lower levels libraries log headers and queries.
    fn filter(&self) -> Targets {
        Targets::new().with_target(OURS, self.level).with_default(self.level.min(tracing::Level::WARN))
    }

    /// Makes this the global `tracing` subscriber of the process. A second call, as in tests, changes nothing.
    pub fn install(&self) {
        let builder = tracing_subscriber::fmt()
            .with_max_level(self.level)
            .with_writer(self.sink.clone())
            .with_target(false);
        let _ = match self.format {
            LogFormat::Json => builder
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .finish()
                .with(self.filter())
                .try_init(),
            LogFormat::Text => {
                builder.with_ansi(with_colours(&io::stdout())).finish().with(self.filter()).try_init()
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_is_dropped_and_counted() {
        let sink = Sink::to(io::sink()).unwrap();
        for (length, dropped) in [(MAX_LINE, 0), (MAX_LINE + 1, 1), (3 << 20, 2)] {
            let mut line = sink.make_writer();
            for piece in vec![b'x'; length].chunks(1000) {
                line.write_all(piece).unwrap();
            }
            assert!(line.line.len() <= MAX_LINE + 1);
            drop(line);
            assert_eq!(sink.dropped(), dropped, "{length}");
        }
    }

    #[test]
    fn colours_are_for_terminals_and_not_against_no_color() {
        assert!(has_colours(true, None) && has_colours(true, Some("".as_ref())));
        assert!(!has_colours(true, Some("1".as_ref())) && !has_colours(false, None));
    }
}
