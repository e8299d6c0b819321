//! Log lines on standard output, written by a thread of their own: a reader that stalls must not stall requests.

use std::{
    io::{self, IsTerminal as _, Write},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

use tracing_subscriber::{
    filter::Targets, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use wasi_http_host_core::lock;

use super::{LogConfig, LogFormat};

/// The host's crates and its program, as events name where they come from: all names begin with it.
const OURS: &str = "wasi_http_host";
/// What may wait to be written; lines beyond it are dropped, and counted.
const MAX_BUFFERED: usize = 4 << 20;
/// How long the writer lets lines gather, so that it wakes seldom.
const GATHER: Duration = Duration::from_millis(5);

/// Where lines go; cheap to clone.
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
    /// A sink with its thread, which writes to standard output.
    ///
    /// # Errors
    /// When there is no thread to be had.
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
                // A closed standard output leaves nobody to tell.
                let _ = out.write_all(&bytes).and_then(|()| out.flush());
                bytes.clear();
            }
        })?;
        Ok(sink)
    }

    /// Adds a line, which must end with a newline. Never waits: a line that finds no room is dropped.
    pub fn write(&self, line: &[u8]) {
        let mut buffer = lock(&self.shared.buffer);
        if buffer.bytes.len() + line.len() > MAX_BUFFERED {
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

    /// Lines dropped so far.
    pub fn dropped(&self) -> u64 {
        lock(&self.shared.buffer).dropped
    }

    /// Waits until all is written, but no longer than `limit`.
    pub fn flush(&self, limit: Duration) {
        let buffer = lock(&self.shared.buffer);
        drop(self.shared.emptied.wait_timeout_while(buffer, limit, |b| b.writing || !b.bytes.is_empty()));
    }
}

impl Shared {
    /// Waits for lines, lets more gather, and takes them all.
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

/// One event of `tracing` becomes one line.
impl<'a> MakeWriter<'a> for Sink {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter { sink: self.clone(), line: Vec::with_capacity(256) }
    }
}

pub struct LineWriter {
    sink: Sink,
    line: Vec<u8>,
}

impl Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
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

/// How and what is logged.
#[derive(Clone)]
pub struct Log {
    /// Where lines go.
    pub sink: Sink,
    /// How they look.
    pub format: LogFormat,
    /// The least level that is written.
    pub level: tracing::Level,
}

impl Log {
    /// As `config` says, on standard output.
    ///
    /// # Errors
    /// When there is no thread to write with.
    pub fn new(config: &LogConfig) -> io::Result<Self> {
        let terminal = io::stdout().is_terminal();
        let format = config.log_format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
        Ok(Self { sink: Sink::stdout()?, format, level: config.log_level })
    }

    /// What of it is ours. Libraries tell at their finer levels what they work on, headers and queries included: of
    /// theirs only warnings are said.
    fn filter(&self) -> Targets {
        Targets::new().with_target(OURS, self.level).with_default(self.level.min(tracing::Level::WARN))
    }

    /// Makes it the process's log. A second call, as in tests, changes nothing.
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
                builder.with_ansi(io::stdout().is_terminal()).finish().with(self.filter()).try_init()
            }
        };
    }
}
