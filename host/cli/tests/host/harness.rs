//! Starts the program, reads its log, and ends it.

use std::{
    fs::File,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Condvar, Mutex, OnceLock, mpsc},
    time::{Duration, Instant},
};

use serde_json::Value;

/// No step takes as long on the slowest machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A guest's binary, built once for all tests of this run.
pub(crate) fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .nth(2)
            .expect("the crate lies in the workspace");
        let target =
            Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("it lies in the target directory");
        let built = Command::new(env!("CARGO"))
            .args(["build", "--release", "--locked", "--target", "wasm32-wasip2"])
            .args(["-p", "guest-service", "-p", "guest-proxy", "--target-dir"])
            .arg(target)
            .current_dir(workspace)
            .status()
            .expect("cargo runs");
        assert!(built.success(), "the guests must build: rustup target add wasm32-wasip2");
        target.join("wasm32-wasip2/release")
    });
    dir.join(format!("guest_{name}.wasm"))
}

/// Compiled code is shared by all tests: each guest is compiled once.
pub(crate) fn code_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("code")
}

/// A file's path in a directory that no other test uses.
pub(crate) fn scratch(test: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("scratch").join(test);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("the target directory can be written");
    dir
}

/// A pipe in the place of a file: whoever reads the file waits for whoever writes it.
pub(crate) struct Fifo(PathBuf);

impl Fifo {
    pub(crate) fn new(path: &Path) -> Self {
        let made = Command::new("mkfifo").arg(path).status().expect("mkfifo runs");
        assert!(made.success());
        Self(path.to_owned())
    }

    /// Waits until somebody reads it, who then waits for what is written to the result.
    pub(crate) fn wait_for_reader(&self) -> File {
        let path = self.0.clone();
        let (sender, opened) = mpsc::channel();
        std::thread::spawn(move || sender.send(File::options().write(true).open(path)));
        opened.recv_timeout(DEADLINE).expect("somebody reads it").expect("it can be written")
    }
}

/// The program with these arguments, to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    run_in(args, &[])
}

/// The same in an environment.
pub(crate) fn run_in(args: &[&str], environment: &[(&str, &str)]) -> Output {
    command().args(args).envs(environment.iter().copied()).output().expect("the program starts")
}

/// The program, in an environment of its own.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wasi-http-host"));
    // What the developer's own environment sets must not change a test.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    // Flags may name another.
    command.env("WASI_HTTP_HOST_CACHE_DIR", code_cache());
    command
}

pub(crate) struct Host {
    child: Child,
    log: Arc<Log>,
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<Value>>,
    more: Condvar,
}

impl Host {
    /// Serves a guest with these flags besides the ones that every test needs.
    pub(crate) fn start(guest_name: &str, flags: &[&str]) -> Self {
        Self::serve(&guest(guest_name), flags, &[])
    }

    /// Serves a manifest or a component, in an environment.
    pub(crate) fn serve(app: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Self {
        Self::serve_complaining(app, flags, environment, Stdio::inherit())
    }

    /// The same, with its standard error elsewhere.
    pub(crate) fn serve_complaining(
        app: &Path,
        flags: &[&str],
        environment: &[(&str, &str)],
        complaints: Stdio,
    ) -> Self {
        let host = Self::launch(app, flags, environment, complaints);
        host.wait_for_line(|line| line["message"] == "ready");
        host
    }

    /// The same, and does not wait until it is ready.
    pub(crate) fn launch(
        app: &Path,
        flags: &[&str],
        environment: &[(&str, &str)],
        complaints: Stdio,
    ) -> Self {
        let mut host = Self::begin(app, flags, environment, complaints);
        host.wait_until_it_listens();
        host
    }

    /// The same, and does not even wait until it listens.
    pub(crate) fn begin(app: &Path, flags: &[&str], environment: &[(&str, &str)], complaints: Stdio) -> Self {
        let mut child = command()
            .arg("serve")
            .arg(app)
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--log-format", "json"])
            .args(flags)
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .expect("the program starts");
        let log = Arc::new(Log::default());
        let out = child.stdout.take().expect("its output is piped");
        let reading = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let value =
                    serde_json::from_str(&line).unwrap_or_else(|_| panic!("not a line of JSON: {line}"));
                reading.lines.lock().unwrap().push(value);
                reading.more.notify_all();
            }
        });
        let unknown = SocketAddr::from(([0; 4], 0));
        Self { child, log, address: unknown, admin: unknown }
    }

    /// Where it does is known from then on.
    pub(crate) fn wait_until_it_listens(&mut self) {
        let address = |line: &Value| line["address"].as_str().and_then(|text| text.parse().ok());
        let listening = |name: &'static str| {
            move |line: &Value| line["message"] == "listening" && line["listener"] == name
        };
        self.address = address(&self.wait_for_line(listening("main"))).expect("an address");
        self.admin = address(&self.wait_for_line(listening("admin"))).expect("an address");
    }

    /// The first line of the log, past or to come, that is so.
    pub(crate) fn wait_for_line(&self, is_so: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + DEADLINE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| is_so(line)) {
                return line.clone();
            }
            let left = deadline.checked_duration_since(Instant::now());
            let left = left.unwrap_or_else(|| panic!("no such line in the log: {lines:#?}"));
            lines = self.log.more.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// All lines so far.
    pub(crate) fn lines(&self) -> Vec<Value> {
        self.log.lines.lock().unwrap().clone()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name, as `kill` takes it.
    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args(["-s", name, &self.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the host does not end: {:#?}", self.lines());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether it is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("it is our child").is_none()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Ended already, mostly.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
