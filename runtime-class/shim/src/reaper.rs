//! Collects the exit statuses of all child processes.
//!
//! Children are the programs that the shim starts, and the containers' processes. The shim is a subreaper (`prctl(2)`,
//! `PR_SET_CHILD_SUBREAPER`): when `runc` exits, the kernel makes the container's process a child of the shim.

use std::{
    collections::{HashMap, VecDeque},
    io,
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use nix::{
    errno::Errno,
    sys::wait::{WaitPidFlag, WaitStatus, waitpid},
    unistd::Pid,
};
use tokio::sync::oneshot;

/// Exits that are kept before a caller claims them. A container's process may exit before `runc` has reported its pid.
const UNCLAIMED_MAX: usize = 256;

/// A process's exit, as containerd reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// The exit code, or 128 plus the number of the signal that killed the process.
    pub(crate) status: u32,
    /// When the shim collected the exit.
    pub(crate) at: SystemTime,
}

/// Waits for all children and passes each exit to the caller that waits for it.
#[derive(Default)]
pub(crate) struct Reaper(Mutex<ExitTable>);

#[derive(Default)]
struct ExitTable {
    waiting: HashMap<i32, oneshot::Sender<Exit>>,
    unclaimed: VecDeque<(i32, Exit)>,
}

impl Reaper {
    /// Starts `command`. The lock is held until the receiver is registered, so that an early exit is not missed.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<(Child, oneshot::Receiver<Exit>)> {
        let mut table = self.lock();
        let child = command.spawn()?;
        let receiver = table.wait_for(i32::try_from(child.id()).map_err(io::Error::other)?);
        Ok((child, receiver))
    }

    /// Waits for the exit of `pid`, a process that `runc` started. If the process has already exited, the receiver holds
    /// its exit.
    pub(crate) fn claim(&self, pid: i32) -> oneshot::Receiver<Exit> {
        let mut table = self.lock();
        let ended = table.unclaimed.iter().position(|(ended, _)| *ended == pid);
        let receiver = table.wait_for(pid);
        if let Some((_, exit)) = ended.and_then(|index| table.unclaimed.remove(index)) {
            table.ended(pid, exit);
        }
        receiver
    }

    /// Collects every child that has exited. Call at each `SIGCHLD`.
    pub(crate) fn reap(&self) {
        let mut table = self.lock();
        loop {
            let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, u32::try_from(code).unwrap_or(u32::MAX)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as u32),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => {
                    log::warn!("wait for child processes: {error}");
                    return;
                }
            };
            table.ended(Pid::as_raw(pid), Exit { status, at: SystemTime::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, ExitTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ExitTable {
    fn wait_for(&mut self, pid: i32) -> oneshot::Receiver<Exit> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(pid, sender);
        receiver
    }

    fn ended(&mut self, pid: i32, exit: Exit) {
        if let Some(sender) = self.waiting.remove(&pid) {
            // The receiver may have been dropped.
            let _ = sender.send(exit);
            return;
        }
        if self.unclaimed.len() >= UNCLAIMED_MAX {
            self.unclaimed.pop_front();
        }
        self.unclaimed.push_back((pid, exit));
    }
}
