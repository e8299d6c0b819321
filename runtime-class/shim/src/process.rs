//! A process of a container: the init process, or one that containerd's `Exec` call added.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::SystemTime,
};

use nix::errno::Errno;
use tokio::sync::{oneshot, watch};

use crate::{
    console::{Console, ConsoleSocket},
    error::{Error, Result},
    pidfd::PidFd,
    reaper::Exit,
    runc::Runc,
    stdio::{self, HeldFifos, StdioPaths, Streams},
};

/// A process's state, as in the OCI runtime specification (`runtime.md`, "State").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProcessState {
    Created,
    Running,
    Stopped(Exit),
}

/// One process and its streams.
pub(crate) struct Process {
    /// Empty for the init process.
    pub(crate) exec_id: String,
    pub(crate) stdio: StdioPaths,
    pid: AtomicI32,
    /// Set when the process exists. `None` if it was reaped at once.
    reference: OnceLock<Option<PidFd>>,
    state: watch::Sender<ProcessState>,
    io: Mutex<ProcessIo>,
    /// Held while a start or an exit is published, so that the start event comes before the exit event.
    pub(crate) event_order: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct ProcessIo {
    fifos: HeldFifos,
    console: Option<Console>,
    input_closed: bool,
}

impl ProcessIo {
    fn close_input(&mut self) {
        self.fifos.stdin = None;
        if let Some(console) = &mut self.console {
            console.close_input();
        }
    }
}

impl Process {
    /// A process that `runc` has not created yet.
    pub(crate) fn new(exec_id: &str, stdio: StdioPaths) -> Self {
        Self {
            exec_id: exec_id.to_owned(),
            stdio,
            pid: AtomicI32::new(0),
            reference: OnceLock::new(),
            state: watch::Sender::new(ProcessState::Created),
            io: Mutex::default(),
            event_order: tokio::sync::Mutex::default(),
        }
    }

    /// Creates the process with its streams or its terminal, and returns its exit.
    ///
    /// # Errors
    /// When a fifo cannot be opened, `runc` fails, or `runc` sends no terminal.
    pub(crate) async fn launch(&self, runc: &Runc, launch: Launch<'_>) -> Result<oneshot::Receiver<Exit>> {
        let (streams, fifos, socket) = if self.stdio.terminal {
            (Streams::null(), HeldFifos::default(), Some(ConsoleSocket::new()?))
        } else {
            let (streams, fifos) = stdio::open(&self.stdio)?;
            (streams, fifos, None)
        };
        let path = socket.as_ref().map(ConsoleSocket::path);
        let child = match launch {
            Launch::Init => runc.create(streams, path).await?,
            Launch::Exec(process) => runc.exec(process, streams, path).await?,
        };
        let console = match socket {
            Some(socket) => Some(Console::new(socket.receive().await?, &self.stdio)?),
            None => None,
        };
        self.pid.store(child.pid, Ordering::Relaxed);
        // A process that exists is not created again, so the reference is set once.
        let _ = self.reference.set(child.process);
        let mut io = self.io();
        io.fifos = fifos;
        io.console = console;
        // `close_input` may have been called before the streams were there.
        if io.input_closed {
            io.close_input();
        }
        Ok(child.exit)
    }

    /// The pid on the node; 0 before the process exists.
    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.pid.load(Ordering::Relaxed)).unwrap_or(0)
    }

    pub(crate) fn state(&self) -> ProcessState {
        *self.state.borrow()
    }

    /// Sets the state to `Running`, unless the process has already exited.
    pub(crate) fn set_running(&self) {
        self.state.send_if_modified(|state| {
            let created = *state == ProcessState::Created;
            if created {
                *state = ProcessState::Running;
            }
            created
        });
    }

    /// Sets the state to `Stopped`, and closes the shim's ends of the streams, so that their readers see the end.
    pub(crate) async fn set_stopped(&self, exit: Exit) {
        let (outputs, console) = {
            let mut io = self.io();
            io.fifos.stdin = None;
            (std::mem::take(&mut io.fifos.outputs), io.console.take())
        };
        drop(outputs);
        if let Some(console) = console {
            // In the background: another process may keep the terminal open.
            tokio::spawn(console.finish());
        }
        self.state.send_replace(ProcessState::Stopped(exit));
    }

    /// Waits until the process has exited.
    pub(crate) async fn wait(&self) -> Result<Exit> {
        let mut states = self.state.subscribe();
        let state = states.wait_for(|state| matches!(state, ProcessState::Stopped(_))).await;
        match state.map(|state| *state) {
            Ok(ProcessState::Stopped(exit)) => Ok(exit),
            _ => Err(Error::Other(format!("process {}: its state is no longer tracked", self.pid()))),
        }
    }

    /// The process's exit. A process that was never started counts as exited with status 0.
    ///
    /// # Errors
    /// `FailedPrecondition` when the process is running.
    pub(crate) fn exit(&self) -> Result<Exit> {
        match self.state() {
            ProcessState::Stopped(exit) => Ok(exit),
            ProcessState::Created => Ok(Exit { status: 0, at: SystemTime::now() }),
            ProcessState::Running => {
                Err(Error::FailedPrecondition(format!("process {} is running", self.pid())))
            }
        }
    }

    /// Sends `signal`. After the process's end, its pid may be that of another process, which gets no signal.
    ///
    /// # Errors
    /// `NotFound` when the process has exited, `FailedPrecondition` before it exists, `InvalidArgument` for a number that
    /// is no signal.
    pub(crate) fn kill(&self, signal: u32) -> Result<()> {
        let pid = self.pid();
        let ended = || Error::NotFound(format!("process {pid} has ended"));
        if matches!(self.state(), ProcessState::Stopped(_)) {
            return Err(ended());
        }
        let Some(process) = self.reference.get() else {
            return Err(Error::FailedPrecondition(format!("signal {signal}: the process is not started")));
        };
        let process = process.as_ref().ok_or_else(ended)?;
        let number =
            i32::try_from(signal).map_err(|_| Error::InvalidArgument(format!("no such signal: {signal}")))?;
        match process.signal(number) {
            Ok(()) => Ok(()),
            Err(Errno::ESRCH) => Err(ended()),
            Err(Errno::EINVAL) => Err(Error::InvalidArgument(format!("no such signal: {signal}"))),
            Err(error) => Err(Error::Other(format!("signal {signal} to process {pid}: {error}"))),
        }
    }

    /// Sets the terminal's size in characters. Does nothing without a terminal.
    pub(crate) fn resize(&self, width: u32, height: u32) -> Result<()> {
        self.io().console.as_ref().map_or(Ok(()), |console| console.resize(width, height))
    }

    /// Closes the shim's end of the input (containerd's `CloseIO`): the process reads what was written, and then the end.
    pub(crate) fn close_input(&self) {
        let mut io = self.io();
        io.input_closed = true;
        io.close_input();
    }

    fn io(&self) -> MutexGuard<'_, ProcessIo> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The `runc` command that creates a process.
pub(crate) enum Launch<'a> {
    /// `runc create`: the init process of a new container.
    Init,
    /// `runc exec`: a process in a running container. The file holds the JSON of the OCI specification's `process`.
    Exec(&'a std::path::Path),
}
