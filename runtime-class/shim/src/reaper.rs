//! The exits of all children: programs that the shim runs, and processes of containers, which become its children
//! when `runc` leaves them behind (the shim is their subreaper).

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

/// Exits that nobody has claimed yet are kept for a while: a process may end before the `runc` that made it has
/// told its number.
const UNCLAIMED_MAX: usize = 256;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Its own code, or 128 and the signal that killed it.
    pub(crate) status: u32,
    /// When it was noticed.
    pub(crate) at: SystemTime,
}

/// Knows who waits for which process.
#[derive(Default)]
pub(crate) struct Reaper(Mutex<Table>);

#[derive(Default)]
struct Table {
    waiting: HashMap<i32, oneshot::Sender<Exit>>,
    unclaimed: VecDeque<(i32, Exit)>,
}

impl Reaper {
    /// Starts `command`. The lock is held meanwhile, so that its exit cannot be missed however soon it comes.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<(Child, oneshot::Receiver<Exit>)> {
        let mut table = self.lock();
        let child = command.spawn()?;
        let receiver = table.wait_for(i32::try_from(child.id()).map_err(io::Error::other)?);
        Ok((child, receiver))
    }

    /// The exit of `pid`, a process that another one has started for us; at once if it has ended already.
    pub(crate) fn claim(&self, pid: i32) -> oneshot::Receiver<Exit> {
        let mut table = self.lock();
        let ended = table.unclaimed.iter().position(|(ended, _)| *ended == pid);
        let receiver = table.wait_for(pid);
        if let Some((_, exit)) = ended.and_then(|index| table.unclaimed.remove(index)) {
            table.ended(pid, exit);
        }
        receiver
    }

    /// Collects whatever has ended: to be called at each SIGCHLD.
    pub(crate) fn reap(&self) {
        let mut table = self.lock();
        loop {
            let (pid, status) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, u32::try_from(code).unwrap_or(u32::MAX)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, 128 + signal as u32),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return,
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(error) => {
                    log::warn!("waiting for children: {error}");
                    return;
                }
            };
            table.ended(Pid::as_raw(pid), Exit { status, at: SystemTime::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn wait_for(&mut self, pid: i32) -> oneshot::Receiver<Exit> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(pid, sender);
        receiver
    }

    fn ended(&mut self, pid: i32, exit: Exit) {
        if let Some(sender) = self.waiting.remove(&pid) {
            // A receiver that has gone no longer wants to know.
            let _ = sender.send(exit);
            return;
        }
        if self.unclaimed.len() >= UNCLAIMED_MAX {
            self.unclaimed.pop_front();
        }
        self.unclaimed.push_back((pid, exit));
    }
}
