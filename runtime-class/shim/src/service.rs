//! containerd's task service (`containerd.task.v2` and `v3`, ttrpc): each call is a method of a container.

use std::{
    collections::HashMap,
    process,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use containerd_shim_protos::{
    api::{
        CloseIORequest, ConnectRequest, ConnectResponse, CreateTaskRequest, CreateTaskResponse,
        DeleteRequest, DeleteResponse, Empty, ExecProcessRequest, KillRequest, PauseRequest, PidsRequest,
        PidsResponse, ProcessInfo, ResizePtyRequest, ResumeRequest, ShutdownRequest, StartRequest,
        StartResponse, StateRequest, StateResponse, StatsRequest, StatsResponse, Status, UpdateTaskRequest,
        WaitRequest, WaitResponse,
    },
    events::task::{
        TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskIO, TaskPaused, TaskResumed, TaskStart,
    },
    protobuf::{EnumOrUnknown, MessageField},
    shim::oci::ProcessDetails,
    shim_async::Task,
    ttrpc::{Result as TtrpcResult, r#async::TtrpcContext},
};
use tokio::{sync::Notify, task::spawn_blocking};

use crate::{
    container::Container,
    error::{Error, Result},
    message,
    node::Node,
    process::{Process, ProcessState},
    reaper::Exit,
    socket::SocketFile,
    stdio::StdioPaths,
};

/// Containers of one pod.
const CONTAINERS_MAX: usize = 1024;

/// The task service of one pod.
///
/// ttrpc drops a call's future when containerd's deadline for the call expires. A call that changes state must not stop
/// half-way, so such a call runs in a task of its own ([`run_to_completion`]), and the future only waits for the task.
pub(crate) struct Service(Arc<Pod>);

struct Pod {
    node: Arc<Node>,
    socket: Arc<SocketFile>,
    containers: Mutex<HashMap<String, Slot>>,
    /// Notified when the creation of a container has succeeded or failed.
    creation_finished: Notify,
    /// Notified when containerd asks for shutdown and no container is left.
    shutdown: Notify,
    /// No container is created after the shutdown request. Read and written while `containers` is locked.
    closing: AtomicBool,
}

/// A container's entry. The id is reserved while the container is created.
enum Slot {
    Creating,
    Created(Arc<Container>),
}

impl Service {
    pub(crate) fn new(node: Arc<Node>, socket: Arc<SocketFile>) -> Self {
        Self(Arc::new(Pod {
            node,
            socket,
            containers: Mutex::default(),
            creation_finished: Notify::new(),
            shutdown: Notify::new(),
            closing: AtomicBool::new(false),
        }))
    }

    /// Returns when containerd has asked for shutdown and no container is left.
    pub(crate) async fn shutdown_requested(&self) {
        self.0.shutdown.notified().await;
    }
}

/// Runs `call` to its end, even if the caller's future is dropped.
async fn run_to_completion<T: Send + 'static>(
    call: impl Future<Output = Result<T>> + Send + 'static,
) -> TtrpcResult<T> {
    match tokio::spawn(call).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Error::Other(format!("the call's task failed: {error}")).into()),
    }
}

impl Pod {
    fn container(&self, id: &str) -> Result<Arc<Container>> {
        match self.containers().get(id) {
            Some(Slot::Created(container)) => Ok(Arc::clone(container)),
            Some(Slot::Creating) => {
                Err(Error::FailedPrecondition(format!("container {id} is still being created")))
            }
            None => Err(Error::NotFound(format!("no container {id}"))),
        }
    }

    /// As [`Self::container`], but waits while the container is created: containerd may delete a container whose
    /// creation exceeded its deadline.
    async fn created_container(&self, id: &str) -> Result<Arc<Container>> {
        loop {
            let finished = self.creation_finished.notified();
            tokio::pin!(finished);
            // Registered before the check, so that no notification between check and wait is missed.
            finished.as_mut().enable();
            if !matches!(self.containers().get(id), Some(Slot::Creating)) {
                return self.container(id);
            }
            finished.await;
        }
    }

    fn process(&self, id: &str, exec_id: &str) -> Result<Arc<Process>> {
        self.container(id)?.process(exec_id)
    }

    fn reserve(&self, id: &str) -> Result<()> {
        let mut containers = self.containers();
        if self.closing.load(Ordering::Relaxed) {
            return Err(Error::FailedPrecondition(format!(
                "container {id}: the pod's shim is shutting down"
            )));
        }
        if containers.contains_key(id) {
            return Err(Error::AlreadyExists(format!("container {id} already exists")));
        }
        if containers.len() >= CONTAINERS_MAX {
            return Err(Error::FailedPrecondition(format!(
                "container {id}: no more than {CONTAINERS_MAX} containers in one pod"
            )));
        }
        containers.insert(id.to_owned(), Slot::Creating);
        Ok(())
    }

    /// Refuses further containers, if there is none. Returns whether there is none.
    fn close(&self) -> bool {
        let containers = self.containers();
        let empty = containers.is_empty();
        if empty {
            self.closing.store(true, Ordering::Relaxed);
        }
        empty
    }

    fn containers(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn create(self: Arc<Self>, request: CreateTaskRequest) -> Result<CreateTaskResponse> {
        self.reserve(&request.id)?;
        let container = match Container::create(&self.node, &request).await {
            Ok(container) => container,
            Err(error) => {
                log::warn!("create container {}: {error}", request.id);
                self.containers().remove(&request.id);
                self.creation_finished.notify_waiters();
                return Err(error);
            }
        };
        let pid = container.init.pid();
        self.containers().insert(request.id.clone(), Slot::Created(container));
        self.creation_finished.notify_waiters();
        let mut event = TaskCreate::new();
        event.set_container_id(request.id);
        event.set_bundle(request.bundle);
        event.set_rootfs(request.rootfs);
        event.set_io(TaskIO {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
            ..TaskIO::default()
        });
        event.set_pid(pid);
        self.node.events.publish(&event);
        Ok(CreateTaskResponse { pid, ..CreateTaskResponse::default() })
    }

    async fn start(self: Arc<Self>, request: StartRequest) -> Result<StartResponse> {
        let container = self.container(&request.id)?;
        let publish_start = |pid| {
            if request.exec_id.is_empty() {
                let mut event = TaskStart::new();
                event.set_container_id(request.id.clone());
                event.set_pid(pid);
                self.node.events.publish(&event);
            } else {
                let mut event = TaskExecStarted::new();
                event.set_container_id(request.id.clone());
                event.set_exec_id(request.exec_id.clone());
                event.set_pid(pid);
                self.node.events.publish(&event);
            }
        };
        let pid = container.start(&request.exec_id, publish_start).await?;
        Ok(StartResponse { pid, ..StartResponse::default() })
    }

    async fn delete(self: Arc<Self>, request: DeleteRequest) -> Result<DeleteResponse> {
        let container = self.created_container(&request.id).await?;
        let (pid, exit) = if request.exec_id.is_empty() {
            let (pid, exit) = container.delete().await?;
            self.containers().remove(&request.id);
            let mut event = TaskDelete::new();
            event.set_container_id(request.id.clone());
            event.set_id(request.id);
            event.set_pid(pid);
            event.set_exit_status(exit.status);
            event.set_exited_at(message::timestamp(exit.at));
            self.node.events.publish(&event);
            (pid, exit)
        } else {
            container.delete_exec(&request.exec_id)?
        };
        let mut response = DeleteResponse::new();
        response.set_pid(pid);
        response.set_exit_status(exit.status);
        response.set_exited_at(message::timestamp(exit.at));
        Ok(response)
    }

    async fn kill(self: Arc<Self>, request: KillRequest) -> Result<Empty> {
        self.container(&request.id)?.kill(&request.exec_id, request.signal, request.all).await?;
        Ok(Empty::new())
    }

    async fn pause(self: Arc<Self>, request: PauseRequest) -> Result<Empty> {
        self.container(&request.id)?.pause().await?;
        let mut event = TaskPaused::new();
        event.set_container_id(request.id);
        self.node.events.publish(&event);
        Ok(Empty::new())
    }

    async fn resume(self: Arc<Self>, request: ResumeRequest) -> Result<Empty> {
        self.container(&request.id)?.resume().await?;
        let mut event = TaskResumed::new();
        event.set_container_id(request.id);
        self.node.events.publish(&event);
        Ok(Empty::new())
    }

    async fn update(self: Arc<Self>, request: UpdateTaskRequest) -> Result<Empty> {
        let resources = request.resources.as_ref().map(|any| any.value.as_slice());
        let resources = resources.ok_or_else(|| {
            Error::InvalidArgument(format!("container {}: update without resources", request.id))
        })?;
        self.container(&request.id)?.update(resources).await?;
        Ok(Empty::new())
    }
}

#[async_trait]
impl Task for Service {
    async fn create(&self, _: &TtrpcContext, request: CreateTaskRequest) -> TtrpcResult<CreateTaskResponse> {
        run_to_completion(Arc::clone(&self.0).create(request)).await
    }

    async fn start(&self, _: &TtrpcContext, request: StartRequest) -> TtrpcResult<StartResponse> {
        run_to_completion(Arc::clone(&self.0).start(request)).await
    }

    async fn delete(&self, _: &TtrpcContext, request: DeleteRequest) -> TtrpcResult<DeleteResponse> {
        run_to_completion(Arc::clone(&self.0).delete(request)).await
    }

    async fn exec(&self, _: &TtrpcContext, request: ExecProcessRequest) -> TtrpcResult<Empty> {
        let container = self.0.container(&request.id)?;
        let stdio = StdioPaths {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let spec = request.spec.as_ref().map(|spec| spec.value.as_slice()).unwrap_or_default();
        container.add_exec(&request.exec_id, stdio, spec)?;
        let mut event = TaskExecAdded::new();
        event.set_container_id(request.id);
        event.set_exec_id(request.exec_id);
        self.0.node.events.publish(&event);
        Ok(Empty::new())
    }

    async fn state(&self, _: &TtrpcContext, request: StateRequest) -> TtrpcResult<StateResponse> {
        let container = self.0.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        let (status, exit) = match process.state() {
            ProcessState::Created => (Status::CREATED, None),
            ProcessState::Running if container.is_paused() => (Status::PAUSED, None),
            ProcessState::Running => (Status::RUNNING, None),
            ProcessState::Stopped(exit) => (Status::STOPPED, Some(exit)),
        };
        let mut response = StateResponse::new();
        response.set_id(request.id);
        response.set_exec_id(request.exec_id);
        response.set_bundle(container.bundle.to_string_lossy().into_owned());
        response.set_pid(process.pid());
        response.status = EnumOrUnknown::new(status);
        response.set_stdin(process.stdio.stdin.clone());
        response.set_stdout(process.stdio.stdout.clone());
        response.set_stderr(process.stdio.stderr.clone());
        response.set_terminal(process.stdio.terminal);
        if let Some(Exit { status, at }) = exit {
            response.set_exit_status(status);
            response.set_exited_at(message::timestamp(at));
        }
        Ok(response)
    }

    async fn wait(&self, _: &TtrpcContext, request: WaitRequest) -> TtrpcResult<WaitResponse> {
        let exit = self.0.process(&request.id, &request.exec_id)?.wait().await?;
        let mut response = WaitResponse::new();
        response.set_exit_status(exit.status);
        response.set_exited_at(message::timestamp(exit.at));
        Ok(response)
    }

    async fn kill(&self, _: &TtrpcContext, request: KillRequest) -> TtrpcResult<Empty> {
        run_to_completion(Arc::clone(&self.0).kill(request)).await
    }

    async fn pids(&self, _: &TtrpcContext, request: PidsRequest) -> TtrpcResult<PidsResponse> {
        let processes = self.0.container(&request.id)?.processes();
        let info = |(pid, exec_id): (u32, Option<String>)| {
            let details = exec_id.map(|exec_id| ProcessDetails { exec_id, ..ProcessDetails::default() });
            let info = details.and_then(|details| message::any(&details).ok());
            ProcessInfo { pid, info: MessageField::from_option(info), ..ProcessInfo::default() }
        };
        Ok(PidsResponse { processes: processes.into_iter().map(info).collect(), ..PidsResponse::default() })
    }

    async fn pause(&self, _: &TtrpcContext, request: PauseRequest) -> TtrpcResult<Empty> {
        run_to_completion(Arc::clone(&self.0).pause(request)).await
    }

    async fn resume(&self, _: &TtrpcContext, request: ResumeRequest) -> TtrpcResult<Empty> {
        run_to_completion(Arc::clone(&self.0).resume(request)).await
    }

    async fn resize_pty(&self, _: &TtrpcContext, request: ResizePtyRequest) -> TtrpcResult<Empty> {
        self.0.process(&request.id, &request.exec_id)?.resize(request.width, request.height)?;
        Ok(Empty::new())
    }

    async fn close_io(&self, _: &TtrpcContext, request: CloseIORequest) -> TtrpcResult<Empty> {
        if request.stdin {
            self.0.process(&request.id, &request.exec_id)?.close_input();
        }
        Ok(Empty::new())
    }

    async fn update(&self, _: &TtrpcContext, request: UpdateTaskRequest) -> TtrpcResult<Empty> {
        run_to_completion(Arc::clone(&self.0).update(request)).await
    }

    async fn stats(&self, _: &TtrpcContext, request: StatsRequest) -> TtrpcResult<StatsResponse> {
        let container = self.0.container(&request.id)?;
        container.publish_oom_kills();
        let metrics = container.cgroup()?.metrics()?;
        Ok(StatsResponse { stats: MessageField::some(metrics), ..StatsResponse::default() })
    }

    async fn connect(&self, _: &TtrpcContext, request: ConnectRequest) -> TtrpcResult<ConnectResponse> {
        let mut response = ConnectResponse::new();
        response.set_shim_pid(process::id());
        response.set_task_pid(self.0.container(&request.id).map_or(0, |container| container.init.pid()));
        response.set_version(env!("CARGO_PKG_VERSION").to_owned());
        Ok(response)
    }

    async fn shutdown(&self, _: &TtrpcContext, _: ShutdownRequest) -> TtrpcResult<Empty> {
        // containerd calls Shutdown after each deleted container. This shim serves the whole pod, so it waits for the last.
        if self.0.close() {
            // Before the reply: afterwards, containerd may start the next shim of this name.
            let socket = Arc::clone(&self.0.socket);
            // Fails if the task panicked. The next shim replaces a socket that was not removed.
            let _ = spawn_blocking(move || socket.remove()).await;
            self.0.shutdown.notify_one();
        }
        Ok(Empty::new())
    }
}
