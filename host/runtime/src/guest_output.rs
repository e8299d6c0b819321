//! What guests print. Each line becomes a log line, up to a budget in bytes per second.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use wasi_http_host_core::{bounded, lock};

use super::ComponentMetrics;

/// A longer line is cut into pieces of this length.
const LINE_BYTES: usize = 8 << 10;
/// What a log line costs beside its texts: the time, the level, the stream, and the names of all fields. Without this part,
/// empty lines would cost nothing.
const FRAME_BYTES: usize = 112;
/// The budget of a component's instances: bytes of log lines per second, and bytes at once after a silence.
const BYTES_PER_SECOND: usize = 256 << 10;
const BURST: usize = 1 << 20;
/// Time between two warnings about dropped output.
const REPORT_EVERY: Duration = Duration::from_secs(10);

/// One of a guest's two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestStream {
    /// Logged at level info.
    Stdout,
    /// Logged at level warn.
    Stderr,
}

/// Receives what the instances of one component print.
pub struct GuestOutput {
    component: String,
    /// What each line costs beside the guest's text.
    frame: usize,
    metrics: Arc<ComponentMetrics>,
    budget: Mutex<Budget>,
}

struct Budget {
    left: usize,
    filled: Instant,
    dropped: u64,
    reported: Option<Instant>,
}

impl GuestOutput {
    /// The output of the component `component`, with its own budget.
    #[must_use]
    pub fn new(component: &str, metrics: Arc<ComponentMetrics>) -> Arc<Self> {
        let budget = Budget { left: BURST, filled: Instant::now(), dropped: 0, reported: None };
        let frame = FRAME_BYTES + escaped_len(component);
        Arc::new(Self { component: component.to_owned(), frame, metrics, budget: Mutex::new(budget) })
    }

    /// A stream for one instance.
    pub fn stream(self: &Arc<Self>, stream: GuestStream) -> impl StdoutStream + use<> {
        Lines(Arc::new(Mutex::new(Pending { output: self.clone(), stream, line: Vec::new() })))
    }

    fn log(&self, stream: GuestStream, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        let (component, line) = (&*self.component, bounded(&line, LINE_BYTES));
        if !self.fits_budget(self.frame + escaped_len(line), Instant::now()) {
            return;
        }
        match stream {
            GuestStream::Stdout => tracing::info!(component, stream = "stdout", "{line}"),
            GuestStream::Stderr => tracing::warn!(component, stream = "stderr", "{line}"),
        }
    }

    /// Whether `bytes` fit into the budget. If not, this counts the bytes and sometimes logs a warning.
    fn fits_budget(&self, bytes: usize, now: Instant) -> bool {
        let mut budget = lock(&self.budget);
        let (fits, report) = budget.spend(bytes, now);
        drop(budget);
        if !fits {
            self.metrics.guest_bytes_dropped.inc_by(bytes as u64);
        }
        if let Some(dropped) = report {
            tracing::warn!(
                component = &*self.component,
                dropped_bytes = dropped,
                "a guest prints more than the rate limit allows: dropping output"
            );
        }
        fits
    }
}

/// Bytes of `text` in a JSON string, or a few more.
fn escaped_len(text: &str) -> usize {
    let escaped = |byte| match byte {
        b'"' | b'\\' | b'\t' | b'\r' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(escaped).sum()
}

impl Budget {
    fn spend(&mut self, bytes: usize, now: Instant) -> (bool, Option<u64>) {
        let earned =
            now.duration_since(self.filled).as_millis().saturating_mul(BYTES_PER_SECOND as u128) / 1_000;
        if earned > 0 {
            self.left = self.left.saturating_add(usize::try_from(earned).unwrap_or(BURST)).min(BURST);
            self.filled = now;
        }
        if bytes <= self.left {
            self.left -= bytes;
            return (true, None);
        }
        self.dropped += bytes as u64;
        let due = self.reported.is_none_or(|last| now.duration_since(last) >= REPORT_EVERY);
        let report = due.then(|| std::mem::take(&mut self.dropped));
        if due {
            self.reported = Some(now);
        }
        (false, report)
    }
}

/// One stream of an instance. Clones share the unfinished line, as WASI's handles to one stream do.
#[derive(Clone)]
struct Lines(Arc<Mutex<Pending>>);

struct Pending {
    output: Arc<GuestOutput>,
    stream: GuestStream,
    line: Vec<u8>,
}

impl Pending {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (piece, ended) = match piece.strip_suffix(b"\n") {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            let mut piece = piece;
            while self.line.len() + piece.len() > LINE_BYTES {
                let (head, rest) = piece.split_at((LINE_BYTES - self.line.len()).min(piece.len()));
                self.line.extend_from_slice(head);
                self.end_line();
                piece = rest;
            }
            self.line.extend_from_slice(piece);
            if ended {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        self.output.log(self.stream, &self.line);
        self.line.clear();
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.end_line();
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

/// Always ready. Output beyond the budget is dropped, so that printing blocks neither the guest nor the log.
impl AsyncWrite for Lines {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).push(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_to_the_budget() {
        let start = Instant::now();
        let mut budget = Budget { left: BURST, filled: start, dropped: 0, reported: None };
        let passed = (0..1_000).filter(|_| budget.spend(8 << 10, start).0).count();
        assert_eq!(passed, BURST / (8 << 10), "at once, the burst");
        let later = start + Duration::from_secs(1);
        let passed = (0..1_000).filter(|_| budget.spend(8 << 10, later).0).count();
        assert_eq!(passed, BYTES_PER_SECOND / (8 << 10), "a second later, a second's worth");
    }

    /// What the log writes, as JSON.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_budget_counts_log_lines_as_they_are_written() {
        for (line, times) in [
            (&b""[..], 200_000),
            (b"a", 200_000),
            (&[1; 8000], 1_000),
            (&[b'"'; 8000], 1_000),
            (&[255; 8000], 1_000),
        ] {
            let written = Written::default();
            let writer = written.clone();
            let log = tracing_subscriber::fmt().json().flatten_event(true).with_current_span(false);
            let log =
                log.with_span_list(false).with_target(false).with_writer(move || writer.clone()).finish();
            let start = Instant::now();
            let output = GuestOutput::new("component", Arc::default());
            let mut pending = Pending { output, stream: GuestStream::Stderr, line: Vec::new() };
            let flood = [line, b"\n"].concat().repeat(times);
            tracing::subscriber::with_default(log, || pending.push(&flood));
            let since = usize::try_from(start.elapsed().as_millis()).unwrap() + 1;
            // The last term is for the warnings about dropped output.
            let most = BURST + BYTES_PER_SECOND * since / 1000 + (1 + since / 10_000) * 300;
            let log = lock(&written.0);
            assert!(log.len() <= most, "{} bytes, at most {most}", log.len());
            let lines = log.iter().filter(|byte| **byte == b'\n').count();
            let least = BURST / (escaped_len(&String::from_utf8_lossy(line)) + FRAME_BYTES + 9);
            assert!((least..=most / FRAME_BYTES).contains(&lines), "{lines} lines");
        }
    }

    #[test]
    fn what_was_dropped_is_reported_now_and_then() {
        let start = Instant::now();
        let mut budget = Budget { left: 0, filled: start, dropped: 0, reported: None };
        assert_eq!(budget.spend(10, start), (false, Some(10)));
        assert_eq!(budget.spend(10, start), (false, None));
        let later = start + REPORT_EVERY;
        budget.filled = later;
        assert_eq!(budget.spend(10, later), (false, Some(20)));
    }
}
