//! containerd's task service: each call as a method of a container.

use std::{
    collections::HashMap,
    process,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
use tokio::sync::Notify;

use crate::{
    container::Container,
    error::{Error, Result},
    message,
    node::Node,
    process::{Process, Stage},
    reaper::Exit,
    stdio::Wanted,
};

/// Containers of one pod that a shim takes.
const CONTAINERS_MAX: usize = 1024;

/// The service of one pod.
///
/// ttrpc drops a call's future when containerd's deadline for it is over. What changes something must not stop half-way
/// then, so such a call is a task of its own ([`whole`]), and its future only waits for it.
pub(crate) struct Service(Arc<Pod>);

struct Pod {
    node: Arc<Node>,
    containers: Mutex<HashMap<String, Slot>>,
    /// Told when a container has been made, or could not be.
    settled: Notify,
    /// Told when the last container has gone and containerd wants the shim to end.
    done: Notify,
}

/// A container, or its place while it is made.
enum Slot {
    Reserved,
    Taken(Arc<Container>),
}

impl Service {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self(Arc::new(Pod {
            node,
            containers: Mutex::default(),
            settled: Notify::new(),
            done: Notify::new(),
        }))
    }

    /// Returns when the last container has gone and containerd wants the shim to end.
    pub(crate) async fn done(&self) {
        self.0.done.notified().await;
    }
}

/// Runs `work` to its end, whether or not the caller still waits for it.
async fn whole<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> TtrpcResult<T> {
    match tokio::spawn(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Error::Other(format!("a call ended early: {error}")).into()),
    }
}

impl Pod {
    fn container(&self, id: &str) -> Result<Arc<Container>> {
        match self.containers().get(id) {
            Some(Slot::Taken(container)) => Ok(Arc::clone(container)),
            Some(Slot::Reserved) => Err(Error::FailedPrecondition(format!("container {id} is being made"))),
            None => Err(Error::NotFound(format!("no container {id}"))),
        }
    }

    /// The container, which is waited for while it is made: containerd deletes one that took it too long.
    async fn made(&self, id: &str) -> Result<Arc<Container>> {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // From now on, so that nothing is missed between the look and the wait.
            settled.as_mut().enable();
            if !matches!(self.containers().get(id), Some(Slot::Reserved)) {
                return self.container(id);
            }
            settled.await;
        }
    }

    fn process(&self, id: &str, exec_id: &str) -> Result<Arc<Process>> {
        self.container(id)?.process(exec_id)
    }

    fn reserve(&self, id: &str) -> Result<()> {
        let mut containers = self.containers();
        if containers.contains_key(id) {
            return Err(Error::AlreadyExists(format!("container {id} exists")));
        }
        if containers.len() >= CONTAINERS_MAX {
            return Err(Error::FailedPrecondition(format!("{CONTAINERS_MAX} containers in one pod")));
        }
        containers.insert(id.to_owned(), Slot::Reserved);
        Ok(())
    }

    fn containers(&self) -> MutexGuard<'_, HashMap<String, Slot>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn create(self: Arc<Self>, request: CreateTaskRequest) -> Result<CreateTaskResponse> {
        self.reserve(&request.id)?;
        let container = match Container::create(&self.node, &request).await {
            Ok(container) => container,
            Err(error) => {
                log::warn!("{}: {error}", request.id);
                self.containers().remove(&request.id);
                self.settled.notify_waiters();
                return Err(error);
            }
        };
        let pid = container.init.pid();
        self.containers().insert(request.id.clone(), Slot::Taken(container));
        self.settled.notify_waiters();
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
        let announce = |pid| {
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
        let pid = container.start(&request.exec_id, announce).await?;
        Ok(StartResponse { pid, ..StartResponse::default() })
    }

    async fn delete(self: Arc<Self>, request: DeleteRequest) -> Result<DeleteResponse> {
        let container = self.made(&request.id).await?;
        let (pid, exit) = if request.exec_id.is_empty() {
            let (pid, exit) = container.delete().await?;
            self.containers().remove(&request.id);
            let mut event = TaskDelete::new();
            event.set_container_id(request.id.clone());
            event.set_id(request.id);
            event.set_pid(pid);
            event.set_exit_status(exit.status);
            event.set_exited_at(message::stamp(exit.at));
            self.node.events.publish(&event);
            (pid, exit)
        } else {
            container.remove(&request.exec_id)?
        };
        let mut response = DeleteResponse::new();
        response.set_pid(pid);
        response.set_exit_status(exit.status);
        response.set_exited_at(message::stamp(exit.at));
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
        let resources =
            resources.ok_or_else(|| Error::InvalidArgument("update without resources".to_owned()))?;
        self.container(&request.id)?.update(resources).await?;
        Ok(Empty::new())
    }
}

#[async_trait]
impl Task for Service {
    async fn create(&self, _: &TtrpcContext, request: CreateTaskRequest) -> TtrpcResult<CreateTaskResponse> {
        whole(Arc::clone(&self.0).create(request)).await
    }

    async fn start(&self, _: &TtrpcContext, request: StartRequest) -> TtrpcResult<StartResponse> {
        whole(Arc::clone(&self.0).start(request)).await
    }

    async fn delete(&self, _: &TtrpcContext, request: DeleteRequest) -> TtrpcResult<DeleteResponse> {
        whole(Arc::clone(&self.0).delete(request)).await
    }

    async fn exec(&self, _: &TtrpcContext, request: ExecProcessRequest) -> TtrpcResult<Empty> {
        let container = self.0.container(&request.id)?;
        let wanted = Wanted {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let spec = request.spec.as_ref().map(|spec| spec.value.as_slice()).unwrap_or_default();
        container.add(&request.exec_id, wanted, spec)?;
        let mut event = TaskExecAdded::new();
        event.set_container_id(request.id);
        event.set_exec_id(request.exec_id);
        self.0.node.events.publish(&event);
        Ok(Empty::new())
    }

    async fn state(&self, _: &TtrpcContext, request: StateRequest) -> TtrpcResult<StateResponse> {
        let container = self.0.container(&request.id)?;
        let process = container.process(&request.exec_id)?;
        let (status, exit) = match process.stage() {
            Stage::Created => (Status::CREATED, None),
            Stage::Running if container.paused() => (Status::PAUSED, None),
            Stage::Running => (Status::RUNNING, None),
            Stage::Stopped(exit) => (Status::STOPPED, Some(exit)),
        };
        let mut response = StateResponse::new();
        response.set_id(request.id);
        response.set_exec_id(request.exec_id);
        response.set_bundle(container.bundle.to_string_lossy().into_owned());
        response.set_pid(process.pid());
        response.status = EnumOrUnknown::new(status);
        response.set_stdin(process.wanted.stdin.clone());
        response.set_stdout(process.wanted.stdout.clone());
        response.set_stderr(process.wanted.stderr.clone());
        response.set_terminal(process.wanted.terminal);
        if let Some(Exit { status, at }) = exit {
            response.set_exit_status(status);
            response.set_exited_at(message::stamp(at));
        }
        Ok(response)
    }

    async fn wait(&self, _: &TtrpcContext, request: WaitRequest) -> TtrpcResult<WaitResponse> {
        let exit = self.0.process(&request.id, &request.exec_id)?.wait().await?;
        let mut response = WaitResponse::new();
        response.set_exit_status(exit.status);
        response.set_exited_at(message::stamp(exit.at));
        Ok(response)
    }

    async fn kill(&self, _: &TtrpcContext, request: KillRequest) -> TtrpcResult<Empty> {
        whole(Arc::clone(&self.0).kill(request)).await
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
        whole(Arc::clone(&self.0).pause(request)).await
    }

    async fn resume(&self, _: &TtrpcContext, request: ResumeRequest) -> TtrpcResult<Empty> {
        whole(Arc::clone(&self.0).resume(request)).await
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
        whole(Arc::clone(&self.0).update(request)).await
    }

    async fn stats(&self, _: &TtrpcContext, request: StatsRequest) -> TtrpcResult<StatsResponse> {
        let container = self.0.container(&request.id)?;
        container.notice_oom();
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
        // containerd asks after each container: the shim serves the whole pod.
        if self.0.containers().is_empty() {
            self.0.done.notify_one();
        }
        Ok(Empty::new())
    }
}
