//! A containerd for one test, and the `ctr` commands that the tests use.

use std::{
    env, fs,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use testkit::wait::eventually;

use crate::{
    image::{self, Image},
    observe::{Events, process_status},
    programs::{find, required},
};

pub(crate) const RUNTIME: &str = "io.containerd.wasi-http.v1";
/// A variable in the environment of containerd. Neither the shim nor a container may see it.
pub(crate) const NODE_SECRET: &str = "NODE_SECRET=of-the-node";
/// A containerd process with its files and containers. Dropping it removes everything.
pub(crate) struct Daemon {
    directory: TempDir,
    programs: PathBuf,
    process: Option<Child>,
    namespace: String,
    containers: std::cell::RefCell<Vec<String>>,
    variables: Vec<(&'static str, &'static str)>,
}

impl Daemon {
    /// Starts a containerd without images and containers.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Self::start`], with variables in containerd's environment.
    pub(crate) fn start_with(variables: &[(&'static str, &'static str)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        assert!(rustix::process::geteuid().is_root(), "these tests start containerd: run them as root");
        let programs = env::var_os("CONTAINERD")
            .map(PathBuf::from)
            .or_else(|| find("containerd").and_then(|containerd| Some(containerd.parent()?.to_owned())));
        let programs =
            programs.expect("set CONTAINERD to the directory of containerd and ctr, or put them on the PATH");
        // A short name: a socket's path has at most 107 bytes.
        let directory = tempfile::Builder::new().prefix("shim").tempdir().unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        // Copies, because the shim expects the host in its own directory.
        fs::copy(
            env!("CARGO_BIN_EXE_containerd-shim-wasi-http-v1"),
            bin.join("containerd-shim-wasi-http-v1"),
        )
        .unwrap();
        fs::copy(required("WASI_HTTP_HOST", "wasi-http-host"), bin.join("wasi-http-host")).unwrap();
        // A namespace of its own: all containerds of a machine share `runc`'s state directory.
        let namespace = format!("t{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut daemon = Self {
            directory,
            programs,
            process: None,
            namespace,
            containers: std::cell::RefCell::default(),
            variables: variables.to_vec(),
        };
        fs::write(daemon.path("config.toml"), daemon.config()).unwrap();
        daemon.launch();
        daemon
    }

    /// Whether it is containerd 2 or later.
    pub(crate) fn is_2(&self) -> bool {
        let output = Command::new(self.programs.join("containerd")).arg("--version").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        !text.split_whitespace().any(|word| word.trim_start_matches('v').starts_with("1."))
    }

    fn config(&self) -> String {
        let disabled = if self.is_2() {
            "\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.runtime\", \"io.containerd.cri.v1.images\", \
             \"io.containerd.nri.v1.nri\""
        } else {
            "\"io.containerd.grpc.v1.cri\""
        };
        format!(
            "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [{disabled}]\n\
             [grpc]\naddress = {:?}\n[ttrpc]\naddress = {:?}\n",
            self.path("root"),
            self.path("state"),
            self.socket(),
            self.path("c.sock.ttrpc"),
        )
    }

    /// The containerd namespace of all containers.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The path of a file in this daemon's directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("c.sock")
    }

    /// The shim's cache directory.
    pub(crate) fn cache(&self) -> PathBuf {
        self.path("cache")
    }

    fn launch(&mut self) {
        let log = File::options().create(true).append(true).open(self.path("containerd.log")).unwrap();
        let (name, value) = NODE_SECRET.split_once('=').unwrap();
        let path = env::join_paths(
            [self.path("bin"), self.programs.clone()]
                .into_iter()
                .chain(env::split_paths(&env::var_os("PATH").unwrap_or_default())),
        );
        let process = Command::new(self.programs.join("containerd"))
            .arg("--config")
            .arg(self.path("config.toml"))
            .env("PATH", path.unwrap())
            .env(name, value)
            .envs(self.variables.iter().copied())
            .env("WASI_HTTP_SHIM_CACHE_DIR", self.cache())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(process);
        eventually("containerd answers", || self.try_ctr(&["version"]).status.success().then_some(()));
    }

    /// Kills containerd. The containers go on.
    pub(crate) fn stop(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Stops containerd from running until the returned value is dropped. It accepts connections, and does not answer.
    pub(crate) fn freeze(&self) -> Frozen {
        let pid = i32::try_from(self.process.as_ref().unwrap().id()).unwrap();
        let frozen = Frozen(Pid::from_raw(pid).unwrap());
        kill_process(frozen.0, Signal::STOP).unwrap();
        frozen
    }

    /// Starts containerd again after [`Self::stop`].
    pub(crate) fn start_again(&mut self) {
        self.launch();
    }

    /// Replaces the shim and the host by copies under the same names, as the installer does: by renaming.
    pub(crate) fn replace_programs(&self) {
        for name in ["wasi-http-host", "containerd-shim-wasi-http-v1"] {
            let (path, fresh) = (self.path("bin").join(name), self.path("bin").join(".fresh"));
            fs::copy(&path, &fresh).and_then(|_| fs::rename(&fresh, &path)).unwrap();
        }
    }

    /// Calls `ctr`. The call may fail.
    pub(crate) fn try_ctr(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// A `ctr` command that is not started yet.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("ctr"));
        command.arg("--address").arg(self.socket()).args(["--namespace", &self.namespace]).args(args);
        command
    }

    /// Calls `ctr`, which must succeed, and returns what it prints.
    #[track_caller]
    pub(crate) fn ctr(&self, args: &[&str]) -> String {
        let output = self.try_ctr(args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "ctr {args:?}: {}{}", text(&output.stderr), self.log());
        text(&output.stdout)
    }

    /// Calls `ctr`, which must fail, and returns its standard error.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.try_ctr(args);
        assert!(!output.status.success(), "ctr {args:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The end of containerd's log, for assertion messages.
    pub(crate) fn log(&self) -> String {
        let log = fs::read_to_string(self.path("containerd.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().rev().take(15).collect();
        format!("\ncontainerd's log, newest first:\n{}", lines.join("\n"))
    }

    /// Imports `image` into containerd.
    pub(crate) fn import(&self, image: &Image) {
        let file = self.path("image.tar");
        File::create(&file).unwrap().write_all(&image.tar()).unwrap();
        self.ctr(&["images", "import", "--all-platforms", file.to_str().unwrap()]);
    }

    /// Starts a container of the runtime `wasi-http` in the background. Its output goes to a file ([`Self::output`]).
    #[track_caller]
    pub(crate) fn run(&self, id: &str, flags: &[&str], image: &str, command: &[&str]) {
        self.run_as(RUNTIME, id, flags, image, command);
    }

    /// As [`Self::run`], with another runtime.
    #[track_caller]
    pub(crate) fn run_as(&self, runtime: &str, id: &str, flags: &[&str], image: &str, command: &[&str]) {
        let log = format!("file://{}", self.output_file(id).display());
        let mut args = vec!["run", "--detach", "--runtime", runtime, "--log-uri", &log];
        args.extend(flags);
        args.extend([image, id]);
        args.extend(command);
        self.remember(id);
        self.ctr(&args);
    }

    /// Removes container `id` when this daemon is dropped. Needed for containers that [`Self::run`] did not create.
    pub(crate) fn remember(&self, id: &str) {
        self.containers.borrow_mut().push(id.to_owned());
    }

    /// The output of a container so far.
    pub(crate) fn output(&self, id: &str) -> String {
        fs::read_to_string(self.output_file(id)).unwrap_or_default()
    }

    fn output_file(&self, id: &str) -> PathBuf {
        self.path(&format!("{id}.out"))
    }

    /// The pid and the state of a container's init process. `None` without a task.
    pub(crate) fn task(&self, id: &str) -> Option<(u32, String)> {
        let list = self.ctr(&["task", "list"]);
        let line = list.lines().find(|line| line.split_whitespace().next() == Some(id))?;
        let mut words = line.split_whitespace().skip(1);
        Some((words.next()?.parse().ok()?, words.next()?.to_owned()))
    }

    /// The pid of a container's init process.
    #[track_caller]
    pub(crate) fn pid(&self, id: &str) -> u32 {
        self.task(id).unwrap_or_else(|| panic!("no task {id}{}", self.log())).0
    }

    /// Sends `signal`, waits for the exit, deletes the container, and returns its exit status.
    #[track_caller]
    pub(crate) fn end(&self, id: &str, signal: &str) -> u32 {
        self.ctr(&["task", "kill", "--signal", signal, id]);
        self.delete(id)
    }

    /// Waits for the exit, deletes the container, and returns its exit status.
    #[track_caller]
    pub(crate) fn delete(&self, id: &str) -> u32 {
        eventually("the task stops", || (self.task(id)?.1 == "STOPPED").then_some(()));
        let output = self.try_ctr(&["task", "delete", id]);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{stderr}{}", self.log());
        self.ctr(&["container", "delete", id]);
        self.containers.borrow_mut().retain(|container| container != id);
        // `ctr` prints an exit status other than 0 in a warning.
        match stderr.split("non-zero exit code ").nth(1) {
            None => 0,
            Some(rest) => rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap(),
        }
    }

    /// Subscribes to containerd's events.
    pub(crate) fn events(&self) -> Events {
        let file = self.path("events.txt");
        let output = File::create(&file).unwrap();
        let process = self.command(&["events"]).stdin(Stdio::null()).stdout(output).spawn().unwrap();
        let events = Events::new(process, file);
        // An event that the test causes itself shows that the subscription is active.
        eventually("events are followed", || {
            self.try_ctr(&["images", "label", image::BUSYBOX, "seen=now"]);
            events.seen("/images/update").then_some(())
        });
        events
    }

    /// The pid of the shim that serves container `id`.
    pub(crate) fn shim(&self, id: &str) -> u32 {
        let parent = process_status(self.pid(id), "PPid:");
        parent.parse().unwrap()
    }

    /// The directories of compiled code in the shim's cache.
    pub(crate) fn compiled(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.cache()).into_iter().flatten().flatten();
        entries
            .map(|entry| entry.path())
            .filter(|path| path.is_dir() && !path.ends_with("artifacts"))
            .collect()
    }
}

/// A containerd that was stopped by a signal.
pub(crate) struct Frozen(Pid);

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if self.process.is_none() {
            self.launch();
        }
        for id in self.containers.take() {
            let _ = self.try_ctr(&["task", "kill", "--signal", "SIGKILL", &id]);
            let deadline = Instant::now() + Duration::from_secs(20);
            while Instant::now() < deadline && self.task(&id).is_some_and(|(_, state)| state != "STOPPED") {
                thread::sleep(Duration::from_millis(50));
            }
            let _ = self.try_ctr(&["task", "delete", "--force", &id]);
            let _ = self.try_ctr(&["container", "delete", &id]);
        }
        self.stop();
        let _ = fs::remove_dir_all(Path::new("/run/containerd/runc").join(&self.namespace));
        // A shim that containerd has just deleted may still write to its directory, and `TempDir` tries once.
        let deadline = Instant::now() + Duration::from_secs(20);
        while let Err(error) = fs::remove_dir_all(self.directory.path()) {
            if Instant::now() > deadline {
                assert!(thread::panicking(), "{} stays: {error}", self.directory.path().display());
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A daemon with the images of the component and of busybox.
pub(crate) fn with_images() -> Daemon {
    let daemon = Daemon::start();
    daemon.import(&image::gists());
    daemon.import(&image::busybox());
    daemon
}
