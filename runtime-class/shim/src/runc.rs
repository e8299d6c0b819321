//! The node's `runc`, called as a program.

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

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    error::{Context as _, Error, Result},
    options::Options,
    reaper::Reaper,
    stdio::Streams,
};

/// For one call. Creating a container takes milliseconds, on a node in trouble seconds.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Bytes of a call's log that are read to find what went wrong.
const LOG_MAX: usize = 256 << 10;

/// `runc` with its global flags, for one container.
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

/// A number for each call, as names of files.
static CALLS: AtomicU64 = AtomicU64::new(0);

impl Runc {
    /// For the container `id` in `bundle`; `systemd`: its cgroup's path has systemd's form.
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

    /// Makes the container, its process waiting to be started, and returns that process's number.
    pub(crate) async fn create(&self, streams: Streams, console: Option<&Path>) -> Result<i32> {
        let pid_file = self.bundle.join("init.pid");
        let mut args = arguments(["create", "--bundle"]);
        args.push(self.bundle.clone().into());
        if self.no_pivot {
            args.push("--no-pivot".into());
        }
        if self.no_new_keyring {
            args.push("--no-new-keyring".into());
        }
        self.detached(args, &pid_file, streams, console).await
    }

    /// Adds the process described by `process`, the JSON of the specification, and returns its number.
    pub(crate) async fn exec(&self, process: &Path, streams: Streams, console: Option<&Path>) -> Result<i32> {
        let pid_file = process.with_extension("pid");
        let mut args = arguments(["exec", "--detach", "--process"]);
        args.push(process.into());
        let pid = self.detached(args, &pid_file, streams, console).await;
        // The file has served; one that stays harms nobody.
        let _ = fs::remove_file(&pid_file);
        pid
    }

    async fn detached(
        &self,
        mut args: Vec<OsString>,
        pid_file: &Path,
        streams: Streams,
        console: Option<&Path>,
    ) -> Result<i32> {
        args.push("--pid-file".into());
        args.push(pid_file.into());
        if let Some(console) = console {
            args.push("--console-socket".into());
            args.push(console.into());
        }
        args.push(self.id.clone().into());
        self.call(&args, streams).await?;
        let pid = fs::read_to_string(pid_file).context(|| pid_file.display())?;
        pid.trim().parse().map_err(|_| Error::Other(format!("{}: {pid:?} is no process", pid_file.display())))
    }

    /// Lets the container's process go.
    pub(crate) async fn start(&self) -> Result<()> {
        self.simple(["start"]).await
    }

    /// Removes the container, and kills what may be left of it.
    pub(crate) async fn delete(&self) -> Result<()> {
        self.simple(["delete", "--force"]).await
    }

    /// Freezes all processes.
    pub(crate) async fn pause(&self) -> Result<()> {
        self.simple(["pause"]).await
    }

    /// Lets them go on.
    pub(crate) async fn resume(&self) -> Result<()> {
        self.simple(["resume"]).await
    }

    /// Sends `signal` to every process of the container.
    pub(crate) async fn kill_all(&self, signal: u32) -> Result<()> {
        let mut args = arguments(["kill", "--all"]);
        args.extend([self.id.clone().into(), signal.to_string().into()]);
        self.call(&args, Streams::none()).await
    }

    /// Sets limits: `resources` is the JSON of the specification's `linux.resources`.
    pub(crate) async fn update(&self, resources: &[u8]) -> Result<()> {
        let file = self.bundle.join(format!("resources-{}.json", CALLS.fetch_add(1, Ordering::Relaxed)));
        fs::write(&file, resources).context(|| file.display())?;
        let mut args = arguments(["update", "--resources"]);
        args.extend([file.clone().into(), self.id.clone().into()]);
        let updated = self.call(&args, Streams::none()).await;
        // Best effort: it goes with the bundle at the latest.
        let _ = fs::remove_file(&file);
        updated
    }

    async fn simple<const N: usize>(&self, args: [&str; N]) -> Result<()> {
        let mut args = arguments(args);
        args.push(self.id.clone().into());
        self.call(&args, Streams::none()).await
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
        // Nothing of the node's environment gets further, not even by way of `runc`.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.stdin(streams.stdin).stdout(streams.stdout).stderr(streams.stderr);
        let spawned = self.reaper.spawn(&mut command);
        // The command holds the container's streams: a reader must see their end when the container ends.
        drop(command);
        let (child, exit) = spawned.context(|| format!("cannot run {}", self.binary))?;
        let ended = timeout(CALL_LIMIT, exit).await;
        let failure = match ended {
            Ok(Ok(exit)) if exit.status == 0 => None,
            Ok(Ok(exit)) => Some(last_error(&log).unwrap_or_else(|| format!("exit status {}", exit.status))),
            Ok(Err(_)) => Some("its exit was lost".to_owned()),
            Err(_) => {
                if let Ok(pid) = i32::try_from(child.id()) {
                    // It may have ended meanwhile.
                    let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                }
                Some(format!("not done after {} s", CALL_LIMIT.as_secs()))
            }
        };
        // Best effort: it goes with the bundle at the latest.
        let _ = fs::remove_file(&log);
        failure.map_or(Ok(()), |reason| Err(Error::Other(format!("{} {name}: {reason}", self.binary))))
    }
}

fn arguments<const N: usize>(args: [&str; N]) -> Vec<OsString> {
    args.iter().map(|arg| OsStr::new(arg).to_owned()).collect()
}

/// The last error in a log of `runc`'s.
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

/// What `runc` can do, in the JSON of the specification's `features`; `None` before runc 1.1.
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
