//! The host as a process.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::Mutex;

use super::{Ask, Connection, Instances, Line, Log, PATIENCE, Reply, Samples, paths, until};

/// Whether a host of this run has compiled the component already: the first one starts alone, the others find its code.
static COMPILED: Mutex<bool> = Mutex::const_new(false);

/// How to start a host.
#[derive(Debug, Clone)]
pub struct Options {
    served: OsString,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Options {
    /// The repository's manifest, on free ports.
    #[must_use]
    pub fn new(instances: Instances) -> Self {
        let cache = paths::target().join("e2e-cache");
        let mut options =
            Self { served: paths::manifest().into(), flags: Vec::new(), environment: Vec::new() }
                .flag("--listen", "127.0.0.1:0")
                .flag("--admin-listen", "127.0.0.1:0")
                .flag("--log-format", "json")
                .flag("--cache-dir", &cache.to_string_lossy());
        if instances == Instances::Fresh {
            options = options.flag("--instance-max-requests", "1");
        }
        options
    }

    /// Adds a command-line flag, in place of one of the same name.
    #[must_use]
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        let with = format!("{name}=");
        self.flags.retain(|flag| !flag.starts_with(&with));
        self.flags.push(with + value);
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
        let begun = Instant::now();
        let mut child = spawn(&options, &log);
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
        Self { child, pid, main, admin, log, started_in }
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
fn spawn(options: &Options, log: &Log) -> Child {
    let program = paths::host_program();
    let mut child = Command::new(&program)
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
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    if let Some(stdout) = child.stdout.take() {
        tokio::spawn(copy(stdout, log.clone()));
    }
    if let Some(stderr) = child.stderr.take() {
        tokio::spawn(copy(stderr, log.clone()));
    }
    child
}

async fn copy(from: impl AsyncRead + Unpin, log: Log) {
    let mut lines = BufReader::new(from).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.push(line);
    }
}
