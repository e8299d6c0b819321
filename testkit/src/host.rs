//! The host as a process.

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command as StdCommand, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::http::{BoundRequest, Connection, Request, Response};
use crate::log::{Log, LogLine, LogReading, Stream};
use crate::metrics::Samples;
use crate::paths;
use crate::ports;
use crate::wait::DEADLINE;

/// The variable that names the directory of compiled code; the flag `--cache-dir` overrides it.
const CACHE: &str = "WASI_HTTP_HOST_CACHE_DIR";

/// The variable that names the file where a program with counters writes them when it ends (scripts/coverage).
const COUNTERS: &str = "LLVM_PROFILE_FILE";
/// Time for a host with counters to end by itself, after which it is killed.
const COUNTED_END: Duration = Duration::from_secs(1);

/// The pause between two scrapes of [`Host::wait_for_metric`].
const LOOK: Duration = Duration::from_millis(20);

/// The host's program with an environment that holds nothing but `PATH`, the directory of compiled code and the file of counters: what the
/// developer's own environment sets must not change a test.
#[must_use]
pub fn command(program: &Path) -> StdCommand {
    let mut command = StdCommand::new(program);
    command.env_clear().env("PATH", path_variable()).env(CACHE, paths::code_cache()).envs(counters());
    command
}

fn path_variable() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

fn counters() -> Option<(&'static str, OsString)> {
    std::env::var_os(COUNTERS).map(|file| (COUNTERS, file))
}

/// How to start a host. By default it listens on free ports of loopback and writes its log as JSON.
#[derive(Debug, Clone)]
#[must_use]
pub struct HostOptions {
    program: Option<PathBuf>,
    prefix: Vec<OsString>,
    app: OsString,
    defaults: Vec<(&'static str, String)>,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
}

impl HostOptions {
    /// Serves this manifest or component, with the host's own defaults.
    pub fn serving(app: impl Into<OsString>) -> Self {
        let any = ports::ANY.to_string();
        Self {
            program: None,
            prefix: Vec::new(),
            app: app.into(),
            defaults: vec![
                ("--listen", any.clone()),
                ("--admin-listen", any),
                ("--log-format", "json".to_owned()),
                ("--cache-dir", paths::code_cache().to_string_lossy().into_owned()),
            ],
            flags: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Serves another manifest or component.
    pub fn app(mut self, app: impl Into<OsString>) -> Self {
        self.app = app.into();
        self
    }

    /// Runs this program in place of [`paths::host_program`].
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Starts the host by a command that changes its process and then replaces itself by `exec`: `prlimit`, `unshare`.
    pub fn under(mut self, command: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.prefix = command.into_iter().map(Into::into).collect();
        self
    }

    /// Sets a flag, and replaces one of the same name.
    pub fn flag(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.flags.push(format!("{name}={value}"));
        self
    }

    /// Adds words to the command line as they are. A flag may occur more than once.
    pub fn flags(mut self, words: &[&str]) -> Self {
        self.defaults.retain(|(name, _)| !words.contains(name));
        self.flags.extend(words.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Removes a flag, also one of the defaults.
    pub fn without(mut self, name: &str) -> Self {
        self.defaults.retain(|(known, _)| *known != name);
        let with_value = format!("{name}=");
        self.flags.retain(|flag| !flag.starts_with(&with_value));
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets environment variables. Of two values for one name, the last counts.
    pub fn envs(mut self, variables: &[(&str, &str)]) -> Self {
        self.environment
            .extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self
    }

    /// Sets a variable of the application: an environment variable by its name in upper case.
    pub fn setting(self, name: &str, value: &str) -> Self {
        self.env(&name.to_uppercase(), value)
    }

    /// Starts the host and waits until it is ready.
    pub async fn start(self) -> Host {
        let mut host = self.start_unready().await;
        host.wait_for_line(|line| line["message"] == "ready").await;
        host.started_in = host.begun.elapsed();
        host
    }

    /// Starts the host and waits until it listens; it may not be ready.
    pub async fn start_unready(self) -> Host {
        self.spawn().listening().await
    }

    /// Starts the process and waits for nothing.
    #[must_use]
    pub fn spawn(self) -> HostProcess {
        HostProcess::spawn(&self)
    }

    /// Compiles the application into the shared code cache, once in this test process. Hosts that start afterwards find the code.
    #[must_use]
    pub fn compile(&self) -> Output {
        let program = self.program.clone().unwrap_or_else(paths::host_program);
        command(&program)
            .current_dir(paths::workspace())
            .arg("compile")
            .arg(&self.app)
            .output()
            .expect("the host's program starts")
    }

    /// The manifest or component that is served.
    #[must_use]
    pub fn served(&self) -> &OsStr {
        &self.app
    }

    fn words(&self) -> Vec<OsString> {
        let defaults = self.defaults.iter().map(|(name, value)| format!("{name}={value}"));
        let flags = defaults.chain(self.flags.iter().cloned()).map(OsString::from);
        ["serve".into(), self.app.clone()].into_iter().chain(flags).collect()
    }
}

/// A host that was started and may not listen yet. Dropping it kills the process and waits for its end.
pub struct HostProcess {
    child: Child,
    pid: u32,
    begun: Instant,
    log: Log,
    reading: watch::Sender<LogReading>,
}

/// A host that listens. Dropping it kills the process and waits for its end.
pub struct Host {
    process: HostProcess,
    main: SocketAddr,
    admin: SocketAddr,
    started_in: Duration,
}

impl HostProcess {
    #[expect(clippy::panic, reason = "how a test reports that the host does not start")]
    fn spawn(options: &HostOptions) -> Self {
        let program = options.program.clone().unwrap_or_else(paths::host_program);
        let mut words = options.prefix.clone();
        words.push(program.into_os_string());
        words.extend(options.words());
        let (first, rest) = words.split_first().expect("the program is one word at least");
        // The host makes its cache directory, and not the directories above it.
        std::fs::create_dir_all(paths::target().join("tmp")).expect("the target directory is writable");
        let (log, reading, begun) = (Log::new(), watch::Sender::new(LogReading::On), Instant::now());
        let mut child = Command::new(first)
            .args(rest)
            .current_dir(paths::workspace())
            // The developer's own settings, proxies above all, must not reach the host.
            .env_clear()
            .env("PATH", path_variable())
            .env("RUST_BACKTRACE", "1")
            .envs(counters())
            .envs(options.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", first.display()));
        if let Some(stdout) = child.stdout.take() {
            log.read(stdout, Stream::Stdout, reading.subscribe());
        }
        if let Some(stderr) = child.stderr.take() {
            log.read(stderr, Stream::Stderr, reading.subscribe());
        }
        let pid = child.id().expect("a child that was not waited for has an id");
        Self { child, pid, begun, log, reading }
    }

    /// Waits until both listeners are bound.
    pub async fn listening(self) -> Host {
        let (main, admin) = (self.listener("main").await, self.listener("admin").await);
        let started_in = self.begun.elapsed();
        Host { process: self, main, admin, started_in }
    }

    async fn listener(&self, name: &'static str) -> SocketAddr {
        let line =
            self.wait_for_line(|line| line["message"] == "listening" && line["listener"] == name).await;
        line.get("address").and_then(|address| address.parse().ok()).expect("the line has an address")
    }

    /// The host's log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The lines of the log so far.
    #[must_use]
    pub fn lines(&self) -> Vec<LogLine> {
        self.log.lines()
    }

    /// See [`Log::wait_for_line`].
    pub async fn wait_for_line(&self, wanted: impl Fn(&LogLine) -> bool) -> LogLine {
        self.log.wait_for_line(wanted).await
    }

    /// Reads the host's output pipes, holds them, or closes them.
    pub fn read_log(&self, reading: LogReading) {
        self.reading.send_replace(reading);
    }

    /// The process's id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether the process has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid).expect("a process id is positive");
        kill(Pid::from_raw(pid), signal).expect("the host has not ended");
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends SIGKILL and waits for the end.
    pub async fn kill(&mut self) -> ExitStatus {
        // An error says that the process has ended.
        let _ = self.child.start_kill();
        self.ended().await
    }

    /// Waits for the end of the process where nothing can await.
    fn end_before(&mut self, deadline: Instant) {
        while self.is_running() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits for the end of the process.
    #[expect(clippy::panic, reason = "how a test reports a hang")]
    pub async fn ended(&mut self) -> ExitStatus {
        match tokio::time::timeout(DEADLINE, self.child.wait()).await {
            Ok(Ok(status)) => status,
            Ok(Err(error)) => panic!("cannot wait for the host: {error}"),
            Err(_) => panic!("the host does not end within {DEADLINE:?}; its log:\n{}", self.log.tail()),
        }
    }
}

impl Drop for HostProcess {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the last lines of the host's log:\n{}", self.log.tail());
        }
        // A killed process writes no counters.
        if counters().is_some() && self.is_running() {
            self.terminate();
            self.end_before(Instant::now() + COUNTED_END);
        }
        // An error says that the process has ended.
        let _ = self.child.start_kill();
        // A killed process ends within milliseconds.
        self.end_before(Instant::now() + DEADLINE);
    }
}

impl Host {
    /// A request to the main listener.
    pub fn request(&self, method: &str, target: &str) -> BoundRequest {
        Request::new(method, target).to(self.main)
    }

    /// The response to a `GET` on the main listener.
    pub async fn get(&self, target: &str) -> Response {
        self.request("GET", target).send().await
    }

    /// As [`Host::get`]; the response may break off: see [`Response::complete`].
    pub async fn get_partial(&self, target: &str) -> Response {
        self.request("GET", target).send_partial().await
    }

    /// The response to a `POST` with this body on the main listener.
    pub async fn post(&self, target: &str, body: impl Into<Vec<u8>>) -> Response {
        self.request("POST", target).body(body).send().await
    }

    /// The response to a `GET` on the admin listener.
    pub async fn admin(&self, target: &str) -> Response {
        Request::get(target).to(self.admin).send().await
    }

    /// A connection to the main listener, for bytes that no client would send.
    pub async fn connect(&self) -> Connection {
        Connection::open(self.main).await
    }

    /// The main listener's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.main
    }

    /// The admin listener's address.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// From the start of the process until the test has read its line `ready`.
    #[must_use]
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// All samples of the admin listener's `/metrics`.
    pub async fn samples(&self) -> Samples {
        Samples::parse(self.admin("/metrics").await.text())
    }

    /// The sum of the host's series that a selector matches: `name` or `name{label="value"}`. Panics if none does.
    pub async fn metric(&self, selector: &str) -> f64 {
        let samples = self.samples().await;
        samples.select(selector).unwrap_or_else(|| {
            let known: Vec<_> = samples.0.iter().map(|sample| sample.name.as_str()).collect();
            no_series(selector, &known)
        })
    }

    /// Waits until `wanted` holds for the metric.
    pub async fn wait_for_metric(&self, selector: &str, wanted: impl Fn(f64) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let value = self.metric(selector).await;
            if wanted(value) {
                return;
            }
            assert!(Instant::now() < deadline, "{selector} is {value}");
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[expect(clippy::panic, reason = "how a test reports a missing metric")]
fn no_series(selector: &str, known: &[&str]) -> ! {
    panic!("no series {selector}; there are {known:?}")
}

impl Deref for Host {
    type Target = HostProcess;

    fn deref(&self) -> &HostProcess {
        &self.process
    }
}

impl DerefMut for Host {
    fn deref_mut(&mut self) -> &mut HostProcess {
        &mut self.process
    }
}
