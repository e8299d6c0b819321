//! A container: its processes, its cgroup, and what containerd may do with them.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use containerd_shim_protos::{
    api::CreateTaskRequest,
    events::task::{TaskExit, TaskOOM},
};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    cgroup::Cgroup,
    error::{Context as _, Error, Result},
    message,
    node::Node,
    options::Options,
    process::{How, Process, Stage},
    reaper::Exit,
    rootfs,
    runc::Runc,
    spec::Spec,
    state, stdio, wasm,
};

/// Processes that may be added to a container, at work or not yet deleted.
const EXECS_MAX: usize = 1024;
/// For a process to be gone once `runc` has killed it.
const GONE_LIMIT: Duration = Duration::from_secs(10);
const SIGKILL: u32 = 9;

/// One container.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) init: Arc<Process>,
    /// Its first process takes those that are left with it.
    shares_processes: bool,
    rootfs: PathBuf,
    runc: Runc,
    cgroup: Option<Cgroup>,
    execs: Mutex<HashMap<String, Arc<Process>>>,
    paused: AtomicBool,
    oom_kills: AtomicU64,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
    node: Arc<Node>,
}

impl Container {
    /// Makes the container that `request` describes, up to its process, which waits to be started.
    pub(crate) async fn create(node: &Arc<Node>, request: &CreateTaskRequest) -> Result<Arc<Self>> {
        if !request.checkpoint.is_empty() {
            return Err(Error::Unimplemented("checkpoints cannot be restored".to_owned()));
        }
        let bundle = PathBuf::from(&request.bundle);
        let options = Options::read(request.options.as_ref())?;
        let rootfs = bundle.join("rootfs");
        state::write(&bundle, &options)?;
        rootfs::mount_all(&request.rootfs, &rootfs)?;
        let made = Self::make(node, request, &options, &bundle, &rootfs).await;
        if made.is_err() {
            rootfs::unmount(&rootfs);
        }
        made
    }

    async fn make(
        node: &Arc<Node>,
        request: &CreateTaskRequest,
        options: &Options,
        bundle: &Path,
        rootfs: &Path,
    ) -> Result<Arc<Self>> {
        let mut spec = Spec::read(bundle)?;
        let root = spec.root(bundle).unwrap_or_else(|| rootfs.to_owned());
        if wasm::prepare(&mut spec, &root, &request.id, node).await? {
            spec.write(bundle)?;
        }
        let runc = Runc::new(
            options,
            &node.namespace,
            &request.id,
            bundle,
            spec.systemd_cgroup(),
            Arc::clone(&node.reaper),
        );
        let wanted = stdio::Wanted {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let init = Arc::new(Process::new("", wanted));
        let pid = match init.make(&runc, How::Create).await {
            Ok(pid) => pid,
            Err(error) => {
                // What `runc` may have left must not be in the way of another try.
                let _ = runc.delete().await;
                return Err(error);
            }
        };
        let cgroup = Cgroup::of(pid).unwrap_or_else(|error| {
            log::warn!("{}: no statistics: {error}", request.id);
            None
        });
        let container = Arc::new(Self {
            id: request.id.clone(),
            bundle: bundle.to_owned(),
            init: Arc::clone(&init),
            shares_processes: spec.shares_processes(),
            rootfs: rootfs.to_owned(),
            runc,
            cgroup,
            execs: Mutex::default(),
            paused: AtomicBool::new(false),
            oom_kills: AtomicU64::new(0),
            turn: tokio::sync::Mutex::default(),
            node: Arc::clone(node),
        });
        container.watch(init, pid);
        Ok(container)
    }

    /// Waits for the exit of `process` in the background, and tells it.
    fn watch(self: &Arc<Self>, process: Arc<Process>, pid: i32) {
        let exit = self.node.reaper.claim(pid);
        let container = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(exit) = exit.await else { return };
            let _news = process.news.lock().await;
            if process.exec_id.is_empty() {
                if container.shares_processes
                    && let Err(error) = container.runc.kill_all(SIGKILL).await
                {
                    log::warn!("{}: {error}", container.id);
                }
                container.notice_oom();
            }
            process.ended(exit).await;
            let mut event = TaskExit::new();
            event.set_container_id(container.id.clone());
            event.set_id(if process.exec_id.is_empty() { &container.id } else { &process.exec_id }.clone());
            event.set_pid(process.pid());
            event.set_exit_status(exit.status);
            event.set_exited_at(message::stamp(exit.at));
            container.node.events.publish(&event);
        });
    }

    /// A process; the first one where `exec_id` is empty.
    pub(crate) fn process(&self, exec_id: &str) -> Result<Arc<Process>> {
        if exec_id.is_empty() {
            return Ok(Arc::clone(&self.init));
        }
        let found = self.execs().get(exec_id).cloned();
        found.ok_or_else(|| Error::NotFound(format!("container {} has no process {exec_id}", self.id)))
    }

    /// Adds a process, which waits to be started. `spec`: the JSON of the specification's `process`.
    pub(crate) fn add(&self, exec_id: &str, wanted: stdio::Wanted, spec: &[u8]) -> Result<()> {
        let invalid = |reason: String| Error::InvalidArgument(format!("process {exec_id}: {reason}"));
        let mut process: Value = serde_json::from_slice(spec).map_err(|error| invalid(error.to_string()))?;
        let fields = process.as_object_mut().ok_or_else(|| invalid("no object".to_owned()))?;
        fields.insert("terminal".to_owned(), wanted.terminal.into());
        let mut execs = self.execs();
        if execs.contains_key(exec_id) {
            return Err(Error::AlreadyExists(format!("container {} has a process {exec_id}", self.id)));
        }
        if execs.len() >= EXECS_MAX {
            return Err(Error::FailedPrecondition(format!("container {}: {EXECS_MAX} processes", self.id)));
        }
        let file = self.exec_file(exec_id)?;
        fs::write(&file, process.to_string()).context(|| file.display())?;
        execs.insert(exec_id.to_owned(), Arc::new(Process::new(exec_id, wanted)));
        Ok(())
    }

    /// Containerd's identifiers are harmless as file names; what is not one of its identifiers is refused.
    fn exec_file(&self, exec_id: &str) -> Result<PathBuf> {
        let harmless = exec_id.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !harmless || exec_id.is_empty() {
            return Err(Error::InvalidArgument(format!("process id {exec_id:?}")));
        }
        Ok(self.bundle.join(format!("exec-{exec_id}.json")))
    }

    /// Starts a process; `announce` tells it before anything else is told of it.
    pub(crate) async fn start(self: &Arc<Self>, exec_id: &str, announce: impl FnOnce(u32)) -> Result<u32> {
        let process = self.process(exec_id)?;
        let _turn = self.turn.lock().await;
        let _news = process.news.lock().await;
        let fresh = process.stage() == Stage::Created && (exec_id.is_empty() || process.pid() == 0);
        if !fresh {
            return Err(Error::FailedPrecondition(format!("container {}: already started", self.id)));
        }
        if exec_id.is_empty() {
            self.runc.start().await?;
        } else {
            let file = self.exec_file(exec_id)?;
            let pid = process.make(&self.runc, How::Exec(&file)).await?;
            self.watch(Arc::clone(&process), pid);
        }
        process.started();
        announce(process.pid());
        Ok(process.pid())
    }

    /// Removes an added process that has ended.
    pub(crate) fn remove(&self, exec_id: &str) -> Result<(u32, Exit)> {
        let process = self.process(exec_id)?;
        let exit = process.exit()?;
        self.execs().remove(exec_id);
        // It goes with the bundle at the latest.
        let _ = fs::remove_file(self.exec_file(exec_id)?);
        Ok((process.pid(), exit))
    }

    /// Removes the container once its first process has ended, or was never started.
    pub(crate) async fn delete(&self) -> Result<(u32, Exit)> {
        let _turn = self.turn.lock().await;
        let before = self.init.exit()?;
        self.runc.delete().await?;
        let exit = match timeout(GONE_LIMIT, self.init.wait()).await {
            Ok(exit) => exit?,
            Err(_) => before,
        };
        rootfs::unmount(&self.rootfs);
        Ok((self.init.pid(), exit))
    }

    /// Sends `signal` to a process, or to all of the container.
    pub(crate) async fn kill(&self, exec_id: &str, signal: u32, all: bool) -> Result<()> {
        let process = self.process(exec_id)?;
        if all && exec_id.is_empty() {
            process.exit().map_or(Ok(()), |_| match process.stage() {
                Stage::Created => Ok(()),
                _ => Err(Error::NotFound(format!("container {} has ended", self.id))),
            })?;
            return self.runc.kill_all(signal).await;
        }
        process.kill(signal)?;
        // A frozen process takes no signal, and would never die.
        if signal == SIGKILL && self.paused.load(Ordering::Relaxed) {
            self.resume().await?;
        }
        Ok(())
    }

    /// Freezes it.
    pub(crate) async fn pause(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.runc.pause().await?;
        self.paused.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Lets it go on.
    pub(crate) async fn resume(&self) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.runc.resume().await?;
        self.paused.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Whether it is frozen.
    pub(crate) fn paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Sets limits: the JSON of the specification's `linux.resources`.
    pub(crate) async fn update(&self, resources: &[u8]) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.runc.update(resources).await
    }

    /// All processes in it, with the id of those that were added. The first one is listed until the container is
    /// deleted: a containerd that restarts takes a container without processes for a leaked one, and how it ended
    /// would be lost.
    pub(crate) fn processes(&self) -> Vec<(u32, Option<String>)> {
        let mut pids = self.cgroup.as_ref().map(Cgroup::processes).unwrap_or_default();
        pids.insert(self.init.pid());
        let execs = self.execs();
        let exec_id =
            |pid: u32| execs.values().find(|exec| exec.pid() == pid).map(|exec| exec.exec_id.clone());
        pids.into_iter().filter(|pid| *pid != 0).map(|pid| (pid, exec_id(pid))).collect()
    }

    /// Its cgroup.
    pub(crate) fn cgroup(&self) -> Result<&Cgroup> {
        self.cgroup.as_ref().ok_or_else(|| Error::NotFound(format!("container {} has no cgroup", self.id)))
    }

    /// Tells containerd of a process that was killed for want of memory since the last look. The kernel counts them,
    /// so that a look at each question for statistics and at the end misses none.
    pub(crate) fn notice_oom(&self) {
        let Some(cgroup) = &self.cgroup else { return };
        let kills = cgroup.oom_kills();
        if kills > self.oom_kills.swap(kills, Ordering::Relaxed) {
            let mut event = TaskOOM::new();
            event.set_container_id(self.id.clone());
            self.node.events.publish(&event);
        }
    }

    fn execs(&self) -> MutexGuard<'_, HashMap<String, Arc<Process>>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
