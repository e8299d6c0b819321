//! Calls the node's `runc` as a program.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::Deserialize;

use crate::{
    error::{Context as _, Error, Result},
    options::Options,
    reaper::{Child, Ended, Reaper},
    stdio::Streams,
};

/// Time for one call. Creating a container takes milliseconds, on an overloaded node seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes at the end of a call's log that are searched for the error.
const LOG_MAX: usize = 256 << 10;

/// Calls `runc` for one container.
///
/// A call fails when `runc` cannot be started, exits with another status than 0 (the message is the last error in its
/// log), or takes longer than 60 s (then it is killed).
#[derive(Clone)]
pub(crate) struct Runc {
    binary: String,
    root: PathBuf,
    systemd: bool,
    no_pivot: bool,
    no_new_keyring: bool,
    id: String,
    bundle: PathBuf,
    reaper: Arc<Reaper>,
}

/// Numbers the calls, so that each call's files have names of their own.
static CALLS: AtomicU64 = AtomicU64::new(0);

impl Runc {
    /// `systemd`: the container's cgroup path has systemd's form.
    pub(crate) fn new(
        options: &Options,
        namespace: &str,
        id: &str,
        bundle: &Path,
        systemd: bool,
        reaper: Arc<Reaper>,
    ) -> Self {
        Self {
            binary: options.binary().to_owned(),
            root: options.root(namespace),
            systemd: systemd || options.systemd_cgroup,
            no_pivot: options.no_pivot_root,
            no_new_keyring: options.no_new_keyring,
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            reaper,
        }
    }

    /// Creates the container, and returns its init process, which waits for [`Self::start`].
    pub(crate) async fn create(&self, streams: Streams, console: Option<&Path>) -> Result<Child> {
        let pid_file = self.bundle.join("init.pid");
        let mut args = arguments(["create", "--bundle"]);
        args.push(self.bundle.clone().into());
        if self.no_pivot {
            args.push("--no-pivot".into());
        }
        if self.no_new_keyring {
            args.push("--no-new-keyring".into());
        }
        self.call_detached(args, &pid_file, streams, console).await
    }

    /// Starts a process in the container, and returns it. `process` is a file with the JSON of the OCI
    /// specification's `process`.
    pub(crate) async fn exec(
        &self,
        process: &Path,
        streams: Streams,
        console: Option<&Path>,
    ) -> Result<Child> {
        let pid_file = process.with_extension("pid");
        let mut args = arguments(["exec", "--detach", "--process"]);
        args.push(process.into());
        let child = self.call_detached(args, &pid_file, streams, console).await;
        // Best effort: containerd removes the bundle with all its files later.
        let _ = fs::remove_file(&pid_file);
        child
    }

    async fn call_detached(
        &self,
        mut args: Vec<OsString>,
        pid_file: &Path,
        streams: Streams,
        console: Option<&Path>,
    ) -> Result<Child> {
        args.push("--pid-file".into());
        args.push(pid_file.into());
        if let Some(console) = console {
            args.push("--console-socket".into());
            args.push(console.into());
        }
        args.push(self.id.clone().into());
        let launch = self.reaper.launch();
        self.call(&args, streams).await?;
        let pid = fs::read_to_string(pid_file).context(|| pid_file.display())?;
        let pid = pid
            .trim()
            .parse()
            .map_err(|_| Error::Other(format!("{}: {pid:?} is not a process ID", pid_file.display())))?;
        launch.claim(pid)
    }

    /// Starts the container's init process.
    pub(crate) async fn start(&self) -> Result<()> {
        self.call_with_id(["start"]).await
    }

    /// Deletes the container. Kills the processes that still run.
    pub(crate) async fn delete(&self) -> Result<()> {
        self.call_with_id(["delete", "--force"]).await
    }

    /// Freezes all processes of the container.
    pub(crate) async fn pause(&self) -> Result<()> {
        self.call_with_id(["pause"]).await
    }

    /// Resumes all processes of the container.
    pub(crate) async fn resume(&self) -> Result<()> {
        self.call_with_id(["resume"]).await
    }

    /// Sends `signal` to every process of the container.
    pub(crate) async fn kill_all(&self, signal: u32) -> Result<()> {
        let mut args = arguments(["kill", "--all"]);
        args.extend([self.id.clone().into(), signal.to_string().into()]);
        self.call(&args, Streams::null()).await
    }

    /// Changes the container's limits. `resources` is the JSON of the OCI specification's `linux.resources`.
    pub(crate) async fn update(&self, resources: &[u8]) -> Result<()> {
        let file = self.bundle.join(format!("resources-{}.json", CALLS.fetch_add(1, Ordering::Relaxed)));
        fs::write(&file, resources).context(|| file.display())?;
        let mut args = arguments(["update", "--resources"]);
        args.extend([file.clone().into(), self.id.clone().into()]);
        let updated = self.call(&args, Streams::null()).await;
        // Best effort: containerd removes the bundle with all its files later.
        let _ = fs::remove_file(&file);
        updated
    }

    async fn call_with_id<const N: usize>(&self, args: [&str; N]) -> Result<()> {
        let mut args = arguments(args);
        args.push(self.id.clone().into());
        self.call(&args, Streams::null()).await
    }

    async fn call(&self, args: &[OsString], streams: Streams) -> Result<()> {
        let name = args.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let log = self.bundle.join(format!("runc-{}.json", CALLS.fetch_add(1, Ordering::Relaxed)));
        let mut command = Command::new(&self.binary);
        command.arg("--root").arg(&self.root).arg("--log").arg(&log).args(["--log-format", "json"]);
        if self.systemd {
            command.arg("--systemd-cgroup");
        }
        command.args(args);
        // The node's environment must reach no container, not even by way of `runc`.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(streams.stdin).stdout(streams.stdout).stderr(streams.stderr);
        let spawned = self.reaper.spawn(&mut command);
        // `command` keeps the container's streams open. Without the drop, their readers would not see the end.
        drop(command);
        let program = spawned.context(|| format!("run {}", self.binary))?;
        let failure = match program.end_within(CALL_TIMEOUT).await {
            Ok(Ended::Exited(exit)) if exit.status == 0 => None,
            Ok(Ended::Exited(exit)) => {
                Some(last_error(&log).unwrap_or_else(|| format!("exit status {}", exit.status)))
            }
            Ok(Ended::Killed) => Some(format!("killed after {} s without a result", CALL_TIMEOUT.as_secs())),
            Err(error) => Some(format!("its exit status was not collected: {error}")),
        };
        // Best effort: containerd removes the bundle with all its files later.
        let _ = fs::remove_file(&log);
        failure.map_or(Ok(()), |reason| Err(Error::Other(format!("{} {name}: {reason}", self.binary))))
    }
}

fn arguments<const N: usize>(args: [&str; N]) -> Vec<OsString> {
    args.iter().map(|arg| OsStr::new(arg).to_owned()).collect()
}

/// The last error in a log that `runc` wrote (`--log-format json`).
fn last_error(log: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        level: String,
        msg: String,
    }
    let text = fs::read(log).ok()?;
    let tail = text.get(text.len().saturating_sub(LOG_MAX)..)?;
    String::from_utf8_lossy(tail)
        .lines()
        .filter_map(|line| serde_json::from_str::<Line>(line).ok())
        .rfind(|line| line.level == "error" || line.level == "fatal")
        .map(|line| line.msg)
}

/// Prints `runc`'s features (OCI runtime specification, `features.md`) as JSON. `None` with a `runc` before 1.1.
pub(crate) fn features(options: &Options) -> Option<Vec<u8>> {
    let output = Command::new(options.binary())
        .arg("features")
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    output.status.success().then_some(output.stdout)
}
