//! The watcher's series for Prometheus, and the smallest HTTP server that a scrape and a probe need.

use std::{
    fmt::Write as _,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Time for reading a request and for writing the response.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of a request.
const REQUEST_MAX: u64 = 8 << 10;
/// A watcher without a successful turn for this long is not live.
const STALE: Duration = Duration::from_secs(300);

/// What the watcher has seen.
#[derive(Debug)]
pub struct Figures {
    ready: AtomicU64,
    installing: AtomicU64,
    lease_seconds: AtomicU64,
    lost: AtomicU64,
    turns: AtomicU64,
    failures: AtomicU64,
    succeeded: Mutex<Instant>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            ready: AtomicU64::default(),
            installing: AtomicU64::default(),
            lease_seconds: AtomicU64::default(),
            lost: AtomicU64::default(),
            turns: AtomicU64::default(),
            failures: AtomicU64::default(),
            succeeded: Mutex::new(Instant::now()),
        }
    }
}

impl Figures {
    /// Notes the number of labelled nodes, the number of nodes whose installer is not done, and the seconds since a node took the
    /// lease (0 if none holds it).
    pub(crate) fn seen(&self, ready: u64, installing: u64, lease_seconds: u64) {
        self.ready.store(ready, Relaxed);
        self.installing.store(installing, Relaxed);
        self.lease_seconds.store(lease_seconds, Relaxed);
    }

    /// Counts a node that has lost the runtime.
    pub(crate) fn lost(&self) {
        self.lost.fetch_add(1, Relaxed);
    }

    /// Counts a turn.
    pub(crate) fn turned(&self, succeeded: bool) {
        self.turns.fetch_add(1, Relaxed);
        if succeeded {
            *self.succeeded.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        } else {
            self.failures.fetch_add(1, Relaxed);
        }
    }

    /// The series in Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, kind, help, value) in [
            ("nodes_ready", "gauge", "Nodes with the label runtime.wasi-http/ready.", &self.ready),
            ("nodes_installing", "gauge", "Nodes whose installer is not done.", &self.installing),
            (
                "lease_held_seconds",
                "gauge",
                "Time since a node took the lease; 0 if none holds it.",
                &self.lease_seconds,
            ),
            ("nodes_lost_total", "counter", "Labels taken off nodes that had lost the runtime.", &self.lost),
            ("watch_turns_total", "counter", "Times that all nodes were looked at.", &self.turns),
            ("watch_failures_total", "counter", "Those that failed.", &self.failures),
        ] {
            let name = format!("wasi_http_installer_{name}");
            let value = value.load(Relaxed);
            let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        }
        text
    }

    fn is_live(&self) -> bool {
        self.succeeded.lock().unwrap_or_else(PoisonError::into_inner).elapsed() < STALE
    }
}

/// Listens on an address. If the kernel has no IPv6, `[::]` stands for `0.0.0.0`.
///
/// # Errors
/// When the address cannot be used.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    match TcpListener::bind(address) {
        Err(_) if address.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED) => TcpListener::bind(any),
        other => other,
    }
}

/// Answers scrapes and probes on a listener, one at a time.
///
/// # Errors
/// When no connection can be accepted any more.
pub fn serve(listener: &TcpListener, figures: &Figures) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        // A client that leaves or sends nonsense is no reason to stop.
        let _client_error = answer(&stream, figures);
    }
}

fn answer(mut stream: &TcpStream, figures: &Figures) -> io::Result<()> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let deadline = Instant::now() + TIMEOUT;
    let mut reader = BufReader::new(stream.try_clone()?.take(REQUEST_MAX));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::from("-");
    while !line.trim_end().is_empty() && Instant::now() < deadline {
        line.clear();
        reader.read_line(&mut line)?;
    }
    let mut words = first.split(' ');
    // Clients add parameters of their own: kubectl adds its timeout.
    let (method, target) = (words.next(), words.next());
    let (status, body) = match (method, target.and_then(|target| target.split('?').next())) {
        (Some("GET"), Some("/metrics")) => ("200 OK", figures.text()),
        (Some("GET"), Some("/live")) if figures.is_live() => ("200 OK", "live\n".to_owned()),
        (Some("GET"), Some("/live")) => {
            ("503 Service Unavailable", "the API server does not answer\n".to_owned())
        }
        _ => ("404 Not Found", "there are /metrics and /live\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes())
}
