//! A process of a container: its first one, or one that was added.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::SystemTime,
};

use nix::{errno::Errno, libc};
use tokio::sync::watch;

use crate::{
    console::{Console, Socket},
    error::{Error, Result},
    reaper::Exit,
    runc::Runc,
    stdio::{self, Held, Streams, Wanted},
};

/// Where a process stands in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Made, not started.
    Created,
    /// At work.
    Running,
    /// Ended.
    Stopped(Exit),
}

/// One process.
pub(crate) struct Process {
    /// Empty for a container's first one.
    pub(crate) exec_id: String,
    pub(crate) wanted: Wanted,
    pid: AtomicI32,
    stage: watch::Sender<Stage>,
    io: Mutex<Io>,
    /// Keeps the news of a start before that of the exit.
    pub(crate) news: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Io {
    held: Held,
    console: Option<Console>,
    input_closed: bool,
}

impl Io {
    fn close_input(&mut self) {
        self.held.stdin = None;
        if let Some(console) = &mut self.console {
            console.close_input();
        }
    }
}

impl Process {
    /// One that does not exist yet.
    pub(crate) fn new(exec_id: &str, wanted: Wanted) -> Self {
        Self {
            exec_id: exec_id.to_owned(),
            wanted,
            pid: AtomicI32::new(0),
            stage: watch::Sender::new(Stage::Created),
            io: Mutex::default(),
            news: tokio::sync::Mutex::default(),
        }
    }

    /// Makes it with its streams or its terminal: `how` calls `runc`, and returns the process's number.
    pub(crate) async fn make(&self, runc: &Runc, how: How<'_>) -> Result<i32> {
        let (streams, held, socket) = if self.wanted.terminal {
            (Streams::none(), Held::default(), Some(Socket::new()?))
        } else {
            let (streams, held) = stdio::open(&self.wanted)?;
            (streams, held, None)
        };
        let path = socket.as_ref().map(Socket::path);
        let pid = match how {
            How::Create => runc.create(streams, path).await?,
            How::Exec(process) => runc.exec(process, streams, path).await?,
        };
        let console = match socket {
            Some(socket) => Some(Console::new(socket.receive().await?, &self.wanted)?),
            None => None,
        };
        self.pid.store(pid, Ordering::Relaxed);
        let mut io = self.io();
        io.held = held;
        io.console = console;
        // The end of the input may have come before, or meanwhile.
        if io.input_closed {
            io.close_input();
        }
        Ok(pid)
    }

    /// Its number on the node; 0 before it exists.
    pub(crate) fn pid(&self) -> u32 {
        u32::try_from(self.pid.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Where it stands.
    pub(crate) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// It was started, unless it has ended meanwhile.
    pub(crate) fn started(&self) {
        self.stage.send_if_modified(|stage| {
            let created = *stage == Stage::Created;
            if created {
                *stage = Stage::Running;
            }
            created
        });
    }

    /// It has ended: readers of its streams see the end, and so do those who wait.
    pub(crate) async fn ended(&self, exit: Exit) {
        let (outputs, console) = {
            let mut io = self.io();
            io.held.stdin = None;
            (std::mem::take(&mut io.held.outputs), io.console.take())
        };
        drop(outputs);
        if let Some(console) = console {
            // Somebody may hold the terminal open: nobody is to wait for that.
            tokio::spawn(console.finish());
        }
        self.stage.send_replace(Stage::Stopped(exit));
    }

    /// Waits for its end.
    pub(crate) async fn wait(&self) -> Result<Exit> {
        let mut stages = self.stage.subscribe();
        let stage = stages.wait_for(|stage| matches!(stage, Stage::Stopped(_))).await;
        match stage.map(|stage| *stage) {
            Ok(Stage::Stopped(exit)) => Ok(exit),
            _ => Err(Error::Other("the process was lost".to_owned())),
        }
    }

    /// How it ended.
    ///
    /// # Errors
    /// When it has not; one that was never started counts as ended.
    pub(crate) fn exit(&self) -> Result<Exit> {
        match self.stage() {
            Stage::Stopped(exit) => Ok(exit),
            Stage::Created => Ok(Exit { status: 0, at: SystemTime::now() }),
            Stage::Running => Err(Error::FailedPrecondition(format!("process {} is running", self.pid()))),
        }
    }

    /// Sends it `signal`. It is a child that nobody has reaped as long as it has not ended, so its number is its own.
    pub(crate) fn kill(&self, signal: u32) -> Result<()> {
        let pid = self.pid.load(Ordering::Relaxed);
        if matches!(self.stage(), Stage::Stopped(_)) {
            return Err(Error::NotFound(format!("process {pid} has ended")));
        }
        if pid == 0 {
            return Err(Error::FailedPrecondition("the process is not started".to_owned()));
        }
        let number = i32::try_from(signal).map_err(|_| Error::InvalidArgument(format!("signal {signal}")))?;
        #[expect(unsafe_code, reason = "nix's own type knows no real-time signals")]
        // SAFETY: only sends a signal; no memory is involved.
        let sent = Errno::result(unsafe { libc::kill(pid, number) });
        match sent {
            Ok(_) => Ok(()),
            Err(Errno::ESRCH) => Err(Error::NotFound(format!("process {pid} has ended"))),
            Err(Errno::EINVAL) => Err(Error::InvalidArgument(format!("signal {signal}"))),
            Err(error) => Err(Error::Other(format!("signal {signal} to process {pid}: {error}"))),
        }
    }

    /// Sets the size of its terminal; without one, nothing.
    pub(crate) fn resize(&self, width: u32, height: u32) -> Result<()> {
        self.io().console.as_ref().map_or(Ok(()), |console| console.resize(width, height))
    }

    /// No more input comes than what was written.
    pub(crate) fn close_input(&self) {
        let mut io = self.io();
        io.input_closed = true;
        io.close_input();
    }

    fn io(&self) -> MutexGuard<'_, Io> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a process is made.
pub(crate) enum How<'a> {
    /// As the first of its container.
    Create,
    /// In a container that runs, as this file says.
    Exec(&'a std::path::Path),
}
