//! The host as a process.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, watch};

use super::{Ask, Connection, Instances, Line, Log, PATIENCE, Reply, Samples, paths, until};

/// Whether a host of this run has compiled the component already: the first one starts alone, the others find its code.
static COMPILED: Mutex<bool> = Mutex::const_new(false);

/// How to start a host.
#[derive(Debug, Clone)]
pub struct Options {
    served: OsString,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    program: Option<PathBuf>,
    under: Vec<OsString>,
}

/// What becomes of the host's standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// It is read as it comes.
    On,
    /// The pipe stays open, and nobody reads.
    Held,
    /// The pipe is closed: writing fails from now on.
    Closed,
}

impl Options {
    /// The repository's manifest, on free ports.
    #[must_use]
    pub fn new(instances: Instances) -> Self {
        let mut options = Self::of(paths::manifest());
        if instances == Instances::Fresh {
            options = options.flag("--instance-max-requests", "1");
        }
        options
    }

    /// Any manifest or component, on free ports, with the host's own defaults.
    #[must_use]
    pub fn of(app: impl Into<OsString>) -> Self {
        let cache = paths::target().join("e2e-cache");
        let served = app.into();
        Self { served, flags: Vec::new(), environment: Vec::new(), program: None, under: Vec::new() }
            .flag("--listen", "127.0.0.1:0")
            .flag("--admin-listen", "127.0.0.1:0")
            .flag("--log-format", "json")
            .flag("--cache-dir", &cache.to_string_lossy())
    }

    /// Adds a command-line flag, in place of one of the same name.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.flags.push(format!("{name}={value}"));
        self
    }

    /// Takes a command-line flag back.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        let with = format!("{name}=");
        self.flags.retain(|flag| !flag.starts_with(&with));
        self
    }

    /// Serves this in place of the repository's manifest.
    #[must_use]
    pub fn serving(mut self, app: impl Into<OsString>) -> Self {
        self.served = app.into();
        self
    }

    /// Runs this build of the host in place of [`paths::host_program`].
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// Starts it under a command that does something to its process and then becomes it by `exec`: `prlimit`, `unshare`.
    #[must_use]
    pub fn under(mut self, command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.under = command.into_iter().map(Into::into).collect();
        self
    }

    /// Gives a declared setting, as an environment variable.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_uppercase(), value.to_owned()));
        self
    }
}

/// A running host; dropping it kills the process.
pub struct Host {
    child: Child,
    pid: u32,
    main: SocketAddr,
    admin: SocketAddr,
    log: Log,
    reading: watch::Sender<Reading>,
    /// From the start of the process to its first answer.
    started_in: Duration,
}

impl Host {
    /// Starts one and waits until it is ready.
    ///
    /// # Panics
    /// When it does not become ready.
    pub async fn start(options: Options) -> Self {
        let mut compiled = COMPILED.lock().await;
        if *compiled {
            drop(compiled);
            return Self::launch(options).await;
        }
        let host = Self::launch(options).await;
        *compiled = true;
        host
    }

    #[expect(clippy::panic, reason = "how a test reports that the host does not start")]
    async fn launch(options: Options) -> Self {
        let log = Log::default();
        let reading = watch::Sender::new(Reading::On);
        let begun = Instant::now();
        let mut child = spawn(&options, &log, &reading);
        let Some(pid) = child.id() else { panic!("the host ended at once") };
        let listening = |name: &'static str| {
            move |line: &Line| line.get("message") == Some("listening") && line.get("listener") == Some(name)
        };
        let address = async |name: &'static str, child: &mut Child| -> SocketAddr {
            let line = until("the host listens", async || {
                if let Ok(Some(status)) = child.try_wait() {
                    panic!("the host ended with {status}:\n{}", log.tail());
                }
                log.find(listening(name))
            });
            let line = line.await;
            line.get("address")
                .and_then(|address| address.parse().ok())
                .unwrap_or_else(|| panic!("{}", line.text))
        };
        let (main, admin) = (address("main", &mut child).await, address("admin", &mut child).await);
        until("the host is ready", async || log.find(|line| line.get("message") == Some("ready"))).await;
        let started_in = begun.elapsed();
        Self { child, pid, main, admin, log, reading, started_in }
    }

    /// A request to the main port.
    #[must_use]
    pub fn ask(&self, method: &str, target: &str) -> Ask {
        Ask::new(self.main, method, target)
    }

    /// The answer to a GET on the main port.
    pub async fn get(&self, target: &str) -> Reply {
        self.ask("GET", target).send().await
    }

    /// The answer to a GET on the admin port.
    pub async fn admin(&self, target: &str) -> Reply {
        Ask::new(self.admin, "GET", target).send().await
    }

    /// The component's own metrics.
    pub async fn metrics(&self) -> Samples {
        Samples::parse(&self.get("/metrics").await.text())
    }

    /// The host's metrics.
    pub async fn host_metrics(&self) -> Samples {
        Samples::parse(&self.admin("/metrics").await.text())
    }

    /// A connection to the main port, for what no client would send.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.main).await
    }

    /// The main port's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.main
    }

    /// What it has written so far.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Where the admin port listens.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Reads its standard output, or no longer.
    pub fn read_log(&self, reading: Reading) {
        self.reading.send_replace(reading);
    }

    /// The process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// From the start of the process until its ready line was read.
    #[must_use]
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Whether the process that was started still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// When the signal cannot be sent.
    pub async fn terminate(&self) {
        // The standard library sends no signal but SIGKILL, and `unsafe` is not worth one.
        let sent = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status().await;
        assert!(sent.is_ok_and(|status| status.success()), "SIGTERM could not be sent");
    }

    /// Sends SIGKILL, and waits until it is gone.
    ///
    /// # Panics
    /// As [`Host::ended`].
    pub async fn kill(&mut self) {
        // An error says that it has gone already.
        let _ = self.child.start_kill();
        self.ended().await;
    }

    /// Waits for the end of the process.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    #[expect(clippy::panic, reason = "how a test reports a hang")]
    pub async fn ended(&mut self) -> ExitStatus {
        match tokio::time::timeout(PATIENCE, self.child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => panic!("cannot wait for the host: {error}"),
            Err(_) => panic!("the host did not end within {PATIENCE:?}:\n{}", self.log.tail()),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the host's last lines:\n{}", self.log.tail());
        }
    }
}

#[expect(clippy::panic, reason = "how a test reports that the host does not start")]
fn spawn(options: &Options, log: &Log, reading: &watch::Sender<Reading>) -> Child {
    let program = options.program.clone().unwrap_or_else(paths::host_program);
    let mut words = options.under.clone();
    words.push(program.clone().into());
    let (first, rest) =
        words.split_first().map_or((program.as_os_str(), [].as_slice()), |(first, rest)| (first, rest));
    let mut child = Command::new(first)
        .args(rest)
        .arg("serve")
        .arg(&options.served)
        .args(&options.flags)
        .current_dir(paths::workspace())
        // Nothing of the tester's own settings, proxies above all, may reach the host.
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("RUST_BACKTRACE", "1")
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", first.display()));
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(copy(stdout, log.clone(), reading.subscribe()));
    }
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(copy(stderr, log.clone(), reading.subscribe()));
    }
    child
}

async fn copy(from: impl AsyncRead + Unpin, log: Log, mut reading: watch::Receiver<Reading>) {
    let mut lines = BufReader::new(from).lines();
    loop {
        let now = *reading.borrow_and_update();
        tokio::select! {
            line = lines.next_line(), if now == Reading::On => match line {
                Ok(Some(line)) => log.push(line),
                Ok(None) | Err(_) => return,
            },
            changed = reading.changed() => if changed.is_err() || *reading.borrow() == Reading::Closed { return },
        }
    }
}
