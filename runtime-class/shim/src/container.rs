//! A container: its processes, its cgroup and the operations that containerd's task service offers.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use containerd_shim_protos::{
    api::CreateTaskRequest,
    events::task::{TaskExit, TaskOOM},
};
use serde_json::Value;
use tokio::{sync::oneshot, time::timeout};

use crate::{
    cgroup::{Cgroup, OomMonitor},
    error::{Context as _, Error, Result},
    message,
    node::Node,
    options::Options,
    process::{Launch, Process, ProcessState},
    reaper::Exit,
    rootfs,
    runc::Runc,
    spec::Spec,
    stdio::StdioPaths,
    wasm,
};

/// Exec processes of one container that have not been deleted.
const EXECS_MAX: usize = 1024;
/// Time for the init process to exit after `runc` has killed it.
const EXIT_TIMEOUT: Duration = Duration::from_secs(10);
const SIGKILL: u32 = 9;

/// One container of the pod.
pub(crate) struct Container {
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) init: Arc<Process>,
    /// The container has no pid namespace of its own: when the init process exits, the shim kills the other processes.
    shares_pid_namespace: bool,
    rootfs: PathBuf,
    runc: Runc,
    cgroup: Option<Cgroup>,
    oom: Option<OomMonitor>,
    execs: Mutex<HashMap<String, Arc<Process>>>,
    paused: AtomicBool,
    /// A `TaskOOM` event was published.
    oom_published: AtomicBool,
    /// Held while `runc` changes the container's state.
    operation: tokio::sync::Mutex<()>,
    node: Arc<Node>,
}

impl Container {
    /// Creates the container that `request` describes. Its init process waits for [`Self::start`].
    ///
    /// # Errors
    /// When the root file system cannot be mounted, the component cannot be compiled, or `runc create` fails. Nothing of
    /// the container is left then.
    pub(crate) async fn create(node: &Arc<Node>, request: &CreateTaskRequest) -> Result<Arc<Self>> {
        if !request.checkpoint.is_empty() {
            return Err(Error::Unimplemented("checkpoints cannot be restored".to_owned()));
        }
        let bundle = PathBuf::from(&request.bundle);
        let options = Options::read(request.options.as_ref())?;
        let rootfs = bundle.join("rootfs");
        options.save(&bundle)?;
        rootfs::mount_all(&request.rootfs, &rootfs)?;
        let created = Self::create_mounted(node, request, &options, &bundle, &rootfs).await;
        if created.is_err() {
            rootfs::unmount(&rootfs);
        }
        created
    }

    async fn create_mounted(
        node: &Arc<Node>,
        request: &CreateTaskRequest,
        options: &Options,
        bundle: &Path,
        rootfs: &Path,
    ) -> Result<Arc<Self>> {
        let mut spec = Spec::read(bundle)?;
        let root = spec.root(bundle).unwrap_or_else(|| rootfs.to_owned());
        let in_use = wasm::prepare(&mut spec, &root, &request.id, node).await?;
        let is_wasm = in_use.is_some();
        if is_wasm {
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
        let stdio = StdioPaths {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let init = Arc::new(Process::new("", stdio));
        let launched = init.launch(&runc, Launch::Init).await.and_then(|exit| {
            in_use.as_ref().map_or(Ok(()), |in_use| in_use.check_mounted(init.pid())).map(|()| exit)
        });
        let exit = match launched {
            Ok(exit) => exit,
            Err(error) => {
                // Best effort: state that `runc create` left would make a retry fail.
                let _ = runc.delete().await;
                return Err(if is_wasm { error } else { wasm::explain_missing(error, &spec, &root) });
            }
        };
        // `runc create` has mounted the files.
        drop(in_use);
        let cgroup = Cgroup::of(init.pid()).unwrap_or_else(|error| {
            log::warn!("container {}: no statistics, as its cgroup was not found: {error}", request.id);
            None
        });
        let container = Arc::new(Self {
            id: request.id.clone(),
            bundle: bundle.to_owned(),
            init: Arc::clone(&init),
            shares_pid_namespace: spec.shares_pid_namespace(),
            rootfs: rootfs.to_owned(),
            runc,
            oom: cgroup.clone().map(OomMonitor::new),
            cgroup,
            execs: Mutex::default(),
            paused: AtomicBool::new(false),
            oom_published: AtomicBool::new(false),
            operation: tokio::sync::Mutex::default(),
            node: Arc::clone(node),
        });
        container.watch_exit(init, exit);
        container.watch_oom_kills();
        Ok(container)
    }

    /// Waits for the exit of `process` in a background task, and publishes the exit event.
    fn watch_exit(self: &Arc<Self>, process: Arc<Process>, exit: oneshot::Receiver<Exit>) {
        let container = Arc::clone(self);
        tokio::spawn(async move {
            let Ok(exit) = exit.await else { return };
            let _order = process.event_order.lock().await;
            if process.exec_id.is_empty()
                && container.shares_pid_namespace
                && let Err(error) = container.runc.kill_all(SIGKILL).await
            {
                log::warn!("container {}: kill the remaining processes: {error}", container.id);
            }
            container.publish_oom_kill_of(exit).await;
            process.set_stopped(exit).await;
            let mut event = TaskExit::new();
            event.set_container_id(container.id.clone());
            event.set_id(if process.exec_id.is_empty() { &container.id } else { &process.exec_id }.clone());
            event.set_pid(process.pid());
            event.set_exit_status(exit.status);
            event.set_exited_at(message::timestamp(exit.at));
            container.node.events.publish(&event);
        });
    }

    /// The exec process `exec_id`, or the init process if `exec_id` is empty.
    ///
    /// # Errors
    /// `NotFound` when there is no such process.
    pub(crate) fn process(&self, exec_id: &str) -> Result<Arc<Process>> {
        if exec_id.is_empty() {
            return Ok(Arc::clone(&self.init));
        }
        let found = self.execs().get(exec_id).cloned();
        found.ok_or_else(|| Error::NotFound(format!("container {} has no process {exec_id}", self.id)))
    }

    /// Adds an exec process. [`Self::start`] starts it. `spec` is the JSON of the OCI specification's `process`.
    ///
    /// # Errors
    /// `InvalidArgument` when `spec` is no JSON object or `exec_id` is no identifier, `AlreadyExists` when the id is in
    /// use, `FailedPrecondition` when the container has 1024 exec processes.
    pub(crate) fn add_exec(&self, exec_id: &str, stdio: StdioPaths, spec: &[u8]) -> Result<()> {
        let invalid = |reason: String| Error::InvalidArgument(format!("process {exec_id}: {reason}"));
        let mut process: Value = serde_json::from_slice(spec).map_err(|error| invalid(error.to_string()))?;
        let fields = process
            .as_object_mut()
            .ok_or_else(|| invalid("its specification is not a JSON object".to_owned()))?;
        fields.insert("terminal".to_owned(), stdio.terminal.into());
        let mut execs = self.execs();
        if execs.contains_key(exec_id) {
            return Err(Error::AlreadyExists(format!("container {} has a process {exec_id}", self.id)));
        }
        if execs.len() >= EXECS_MAX {
            return Err(Error::FailedPrecondition(format!(
                "container {}: no more than {EXECS_MAX} exec processes",
                self.id
            )));
        }
        let file = self.exec_file(exec_id)?;
        fs::write(&file, process.to_string()).context(|| file.display())?;
        execs.insert(exec_id.to_owned(), Arc::new(Process::new(exec_id, stdio)));
        Ok(())
    }

    /// Path of an exec process's specification. containerd's identifiers are safe as file names; other ids are refused.
    fn exec_file(&self, exec_id: &str) -> Result<PathBuf> {
        let is_identifier = exec_id.chars().all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if !is_identifier || exec_id.is_empty() {
            return Err(Error::InvalidArgument(format!("{exec_id:?} is not a valid process ID")));
        }
        Ok(self.bundle.join(format!("exec-{exec_id}.json")))
    }

    /// Starts a process and returns its pid. `publish_start` publishes the start event; no exit event comes before it.
    ///
    /// # Errors
    /// `FailedPrecondition` when the process was started before; what `runc` reports.
    pub(crate) async fn start(
        self: &Arc<Self>,
        exec_id: &str,
        publish_start: impl FnOnce(u32),
    ) -> Result<u32> {
        let process = self.process(exec_id)?;
        let _operation = self.operation.lock().await;
        let _order = process.event_order.lock().await;
        let startable =
            process.state() == ProcessState::Created && (exec_id.is_empty() || process.pid() == 0);
        if !startable {
            return Err(Error::FailedPrecondition(format!("container {}: already started", self.id)));
        }
        if exec_id.is_empty() {
            self.runc.start().await?;
        } else {
            let file = self.exec_file(exec_id)?;
            let exit = process.launch(&self.runc, Launch::Exec(&file)).await?;
            self.watch_exit(Arc::clone(&process), exit);
        }
        process.set_running();
        publish_start(process.pid());
        Ok(process.pid())
    }

    /// Deletes an exec process, and returns its pid and its exit.
    ///
    /// # Errors
    /// `FailedPrecondition` when the process is running.
    pub(crate) fn delete_exec(&self, exec_id: &str) -> Result<(u32, Exit)> {
        let process = self.process(exec_id)?;
        let exit = process.exit()?;
        self.execs().remove(exec_id);
        // Best effort: containerd removes the bundle with all its files later.
        let _ = fs::remove_file(self.exec_file(exec_id)?);
        Ok((process.pid(), exit))
    }

    /// Deletes the container, and returns its init process's pid and exit.
    ///
    /// # Errors
    /// `FailedPrecondition` when the init process is running; what `runc delete` reports.
    pub(crate) async fn delete(&self) -> Result<(u32, Exit)> {
        let _operation = self.operation.lock().await;
        let before = self.init.exit()?;
        self.runc.delete().await?;
        let exit = match timeout(EXIT_TIMEOUT, self.init.wait()).await {
            Ok(exit) => exit?,
            Err(_) => before,
        };
        rootfs::unmount(&self.rootfs);
        Ok((self.init.pid(), exit))
    }

    /// Sends `signal` to one process, or to all processes of the container if `all` is set and `exec_id` is empty.
    ///
    /// # Errors
    /// `NotFound` when the process or the container has exited.
    pub(crate) async fn kill(&self, exec_id: &str, signal: u32, all: bool) -> Result<()> {
        let process = self.process(exec_id)?;
        if all && exec_id.is_empty() {
            process.exit().map_or(Ok(()), |_| match process.state() {
                ProcessState::Created => Ok(()),
                _ => Err(Error::NotFound(format!("container {} has ended", self.id))),
            })?;
            return self.runc.kill_all(signal).await;
        }
        process.kill(signal)?;
        // A frozen process receives no signal until it is resumed.
        if signal == SIGKILL && self.paused.load(Ordering::Relaxed) {
            self.resume().await?;
        }
        Ok(())
    }

    /// Freezes all processes of the container.
    pub(crate) async fn pause(&self) -> Result<()> {
        let _operation = self.operation.lock().await;
        self.runc.pause().await?;
        self.paused.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Resumes all processes after [`Self::pause`].
    pub(crate) async fn resume(&self) -> Result<()> {
        let _operation = self.operation.lock().await;
        self.runc.resume().await?;
        self.paused.store(false, Ordering::Relaxed);
        Ok(())
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Changes the container's limits. `resources` is the JSON of the OCI specification's `linux.resources`.
    pub(crate) async fn update(&self, resources: &[u8]) -> Result<()> {
        let _operation = self.operation.lock().await;
        self.runc.update(resources).await
    }

    /// The pids of all processes, with the exec id of each exec process.
    ///
    /// The init process is listed until the container is deleted. When containerd restarts, it cleans up a container
    /// without processes as leaked, and the exit status would be lost.
    pub(crate) fn processes(&self) -> Vec<(u32, Option<String>)> {
        let mut pids = self.cgroup.as_ref().map(Cgroup::processes).unwrap_or_default();
        pids.insert(self.init.pid());
        let execs = self.execs();
        let exec_id =
            |pid: u32| execs.values().find(|exec| exec.pid() == pid).map(|exec| exec.exec_id.clone());
        pids.into_iter().filter(|pid| *pid != 0).map(|pid| (pid, exec_id(pid))).collect()
    }

    /// # Errors
    /// `NotFound` when the cgroup was not found at creation.
    pub(crate) fn cgroup(&self) -> Result<&Cgroup> {
        self.cgroup.as_ref().ok_or_else(|| Error::NotFound(format!("container {} has no cgroup", self.id)))
    }

    /// Publishes a `TaskOOM` event for each OOM kill at once, until the init process has exited.
    fn watch_oom_kills(self: &Arc<Self>) {
        let container = Arc::clone(self);
        let watch = async move {
            let Some(oom) = &container.oom else { return };
            loop {
                tokio::select! {
                    changed = oom.changed() => if changed.is_err() { return },
                    _ = container.init.wait() => return,
                }
                container.publish_oom_kills();
            }
        };
        tokio::spawn(watch);
    }

    /// Publishes a `TaskOOM` event if the kernel has OOM-killed a process since the last call.
    pub(crate) fn publish_oom_kills(&self) {
        if self.oom.as_ref().is_some_and(OomMonitor::has_new_kills) {
            self.publish_oom();
        }
    }

    /// As [`Self::publish_oom_kills`], after `exit` of a process. Waits until containerd has the event: containerd may take
    /// the exit from its `Wait` call, and calls a killed container "Error" if no `TaskOOM` came before.
    async fn publish_oom_kill_of(&self, exit: Exit) {
        if let Some(oom) = &self.oom
            && oom.has_killed(exit).await
        {
            self.publish_oom();
        }
        if self.oom_published.load(Ordering::Relaxed) {
            // After the timeout, the exit is more urgent than the order.
            self.node.events.delivered().await;
        }
    }

    fn publish_oom(&self) {
        self.oom_published.store(true, Ordering::Relaxed);
        let mut event = TaskOOM::new();
        event.set_container_id(self.id.clone());
        self.node.events.publish(&event);
    }

    fn execs(&self) -> MutexGuard<'_, HashMap<String, Arc<Process>>> {
        self.execs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
