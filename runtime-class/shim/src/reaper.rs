//! Collects the exit statuses of all child processes.
//!
//! Children are the programs that the shim starts, the containers' processes, and orphans. The shim is a subreaper
//! (`prctl(2)`, `PR_SET_CHILD_SUBREAPER`): when `runc` exits, the kernel makes the container's process a child of the shim.
//!
//! - The kernel uses a pid again as soon as the shim has reaped it. So an exit without a caller is kept only while a
//!   [`Launch`] may ask for it, and is dropped if a living child has its pid.
//! - A child is signalled over its [`PidFd`], or under the lock that reaping takes.

use std::{
    collections::{HashMap, VecDeque},
    io,
    os::unix::process::CommandExt as _,
    process::Command,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rustix::process::{WaitOptions, WaitStatus, wait};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    error::{Error, Result},
    pidfd::PidFd,
};

/// Exits that are kept until the running launches have claimed theirs. A container's process may exit before `runc` has
/// reported its pid.
const UNCLAIMED_MAX: usize = 256;
/// Time for a program to exit after `SIGKILL`.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// A process's exit, as containerd reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// The exit code, or 128 plus the number of the signal that killed the process.
    pub(crate) status: u32,
    /// When the shim collected the exit.
    pub(crate) at: SystemTime,
}

impl Exit {
    /// `None` if the process was only stopped or continued.
    fn now(status: WaitStatus) -> Option<Self> {
        let signal = status.terminating_signal().map(|signal| signal.saturating_add(128));
        let status = status.exit_status().or(signal)?;
        Some(Self { status: u32::try_from(status).unwrap_or(u32::MAX), at: SystemTime::now() })
    }
}

/// Waits for all children and passes each exit to the caller that waits for it.
#[derive(Default)]
pub(crate) struct Reaper(Mutex<ExitTable>);

#[derive(Default)]
struct ExitTable {
    waiting: HashMap<i32, oneshot::Sender<Exit>>,
    /// Launches that have not ended.
    launches: usize,
    /// Number of exits that were ever unclaimed. It orders exits and launches.
    sequence: u64,
    /// Exits without a caller: sequence number, pid, exit.
    unclaimed: VecDeque<(u64, i32, Exit)>,
}

/// A child process and its exit.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: i32,
    /// `None` if the process was reaped before it was claimed.
    pub(crate) process: Option<PidFd>,
    pub(crate) exit: oneshot::Receiver<Exit>,
}

/// A program that the shim has started, in a process group of its own.
pub(crate) struct Program {
    reaper: Arc<Reaper>,
    child: Child,
}

/// How a program ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Exited(Exit),
    /// The program took too long and was killed.
    Killed,
}

/// A call of `runc` that starts a process of a container. Exits that are collected meanwhile can be claimed.
pub(crate) struct Launch {
    reaper: Arc<Reaper>,
    /// Exits with a lower sequence number are from before the launch.
    since: u64,
}

impl Reaper {
    /// Starts `command` in a process group of its own. The lock is held until the receiver is registered, so that an early
    /// exit is not missed and the pid stays the child's.
    pub(crate) fn spawn(self: &Arc<Self>, command: &mut Command) -> io::Result<Program> {
        let mut table = self.lock();
        let pid = i32::try_from(command.process_group(0).spawn()?.id()).map_err(io::Error::other)?;
        let exit = table.wait_for(pid);
        let child = Child { pid, process: PidFd::open(pid).ok(), exit };
        Ok(Program { reaper: Arc::clone(self), child })
    }

    /// Begins a launch. Call before `runc` is started.
    pub(crate) fn launch(self: &Arc<Self>) -> Launch {
        let mut table = self.lock();
        table.launches += 1;
        Launch { reaper: Arc::clone(self), since: table.sequence }
    }

    /// Collects every child that has exited. Call at each `SIGCHLD`.
    pub(crate) fn reap(&self) {
        let mut table = self.lock();
        loop {
            let (pid, status) = match wait(WaitOptions::NOHANG) {
                Ok(Some(child)) => child,
                Ok(None) | Err(rustix::io::Errno::CHILD) => return,
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => {
                    log::warn!("wait for child processes: {error}");
                    return;
                }
            };
            if let Some(exit) = Exit::now(status) {
                table.ended(pid.as_raw_nonzero().get(), exit);
            }
        }
    }

    /// Kills the process group of `leader`, a program that the shim has started. Does nothing if the leader was reaped,
    /// because its number may then be another group's.
    fn kill_group(&self, leader: i32) {
        let table = self.lock();
        if table.waiting.contains_key(&leader) {
            // Fails if all processes of the group have exited.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }

    fn lock(&self) -> MutexGuard<'_, ExitTable> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Program {
    /// Waits until the program has exited, for at most `limit`. Then kills it with its process group, and waits for its end.
    ///
    /// # Errors
    /// When the exit was not collected.
    pub(crate) async fn end_within(mut self, limit: Duration) -> io::Result<Ended> {
        if let Ok(exit) = timeout(limit, &mut self.child.exit).await {
            return exit.map(Ended::Exited).map_err(io::Error::other);
        }
        self.reaper.kill_group(self.child.pid);
        if timeout(KILL_TIMEOUT, &mut self.child.exit).await.is_err() {
            log::warn!("process {} lives on after SIGKILL", self.child.pid);
        }
        Ok(Ended::Killed)
    }
}

impl Launch {
    /// Waits for the exit of `pid`, which `runc` has reported. If the process has already exited, the receiver holds its
    /// exit.
    ///
    /// # Errors
    /// When `pid` is no child of the shim.
    pub(crate) fn claim(&self, pid: i32) -> Result<Child> {
        let mut table = self.reaper.lock();
        // Under the lock nobody reaps, so the answer stays true.
        let process = PidFd::open(pid).ok().filter(PidFd::is_child);
        let since = self.since;
        let early = table.unclaimed.iter().rposition(|(number, ended, _)| *ended == pid && *number >= since);
        let early = early.and_then(|index| table.unclaimed.remove(index));
        let exit = table.wait_for(pid);
        match (&process, early) {
            // An exit with this pid is that of an earlier process.
            (Some(_), _) => {}
            (None, Some((_, _, exit))) => table.ended(pid, exit),
            (None, None) => {
                table.waiting.remove(&pid);
                return Err(Error::Other(format!("process {pid} is no child of the shim")));
            }
        }
        Ok(Child { pid, process, exit })
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        let mut table = self.reaper.lock();
        table.launches = table.launches.saturating_sub(1);
        if table.launches == 0 {
            table.unclaimed.clear();
        }
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
        if self.launches == 0 {
            return;
        }
        if self.unclaimed.len() >= UNCLAIMED_MAX {
            self.unclaimed.pop_front();
        }
        self.unclaimed.push_back((self.sequence, pid, exit));
        self.sequence += 1;
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{fs, process::Stdio};

    use nix::{errno::Errno, libc};
    use rustix::process::waitpid;
    use testkit::wait::eventually;

    use super::*;

    impl Reaper {
        /// In place of [`Self::reap`], which would take the children of other tests: collects the exits of this reaper's
        /// programs until `done` has returned.
        pub(crate) async fn collect_until<T>(&self, done: impl Future<Output = T>) -> T {
            tokio::pin!(done);
            loop {
                tokio::select! {
                    result = &mut done => return result,
                    () = tokio::time::sleep(Duration::from_millis(2)) => {}
                }
                let mut table = self.lock();
                for pid in table.waiting.keys().copied().collect::<Vec<_>>() {
                    let child = rustix::process::Pid::from_raw(pid);
                    if let Ok(Some((_, status))) = waitpid(child, WaitOptions::NOHANG) {
                        table.ended(pid, Exit::now(status).unwrap());
                    }
                }
            }
        }
    }

    const EXIT: Exit = Exit { status: 7, at: SystemTime::UNIX_EPOCH };

    fn sleep() -> std::process::Child {
        Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap()
    }

    fn end(mut child: std::process::Child) {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn pid(child: &std::process::Child) -> i32 {
        i32::try_from(child.id()).unwrap()
    }

    /// The pid of a child that was reaped.
    fn reaped() -> i32 {
        let child = sleep();
        let pid = pid(&child);
        end(child);
        pid
    }

    #[test]
    fn an_early_exit_is_claimed() {
        let reaper = Arc::new(Reaper::default());
        let launch = reaper.launch();
        let pid = reaped();
        reaper.lock().ended(pid, EXIT);
        let mut child = launch.claim(pid).unwrap();
        assert_eq!(child.exit.try_recv(), Ok(EXIT));
        assert!(child.process.is_none());
    }

    #[test]
    fn an_exit_from_before_the_launch_is_not_claimed() {
        let reaper = Arc::new(Reaper::default());
        let pid = reaped();
        reaper.lock().ended(pid, EXIT);
        let first = reaper.launch();
        reaper.lock().ended(pid, EXIT);
        let second = reaper.launch();
        let error = second.claim(pid).unwrap_err().to_string();
        assert!(error.contains(&pid.to_string()), "{error}");
        assert_eq!(first.claim(pid).unwrap().exit.try_recv(), Ok(EXIT));
        assert!(first.claim(pid).is_err(), "an exit from before any launch was kept");
    }

    #[test]
    fn exits_that_nobody_claims_are_forgotten_and_bounded() {
        let reaper = Arc::new(Reaper::default());
        reaper.lock().ended(1, EXIT);
        assert!(reaper.lock().unclaimed.is_empty());
        let launch = reaper.launch();
        for pid in 0..1000 {
            reaper.lock().ended(pid, EXIT);
        }
        assert_eq!(reaper.lock().unclaimed.len(), UNCLAIMED_MAX);
        drop(launch);
        assert!(reaper.lock().unclaimed.is_empty());
    }

    /// The kernel has given the pid of a process that was reaped to a new child.
    #[test]
    fn a_living_child_has_not_the_exit_of_an_earlier_process() {
        let reaper = Arc::new(Reaper::default());
        let launch = reaper.launch();
        let living = sleep();
        reaper.lock().ended(pid(&living), EXIT);
        let mut child = launch.claim(pid(&living)).unwrap();
        assert_eq!(child.exit.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        let last = Exit { status: 137, ..EXIT };
        end(living);
        reaper.lock().ended(child.pid, last);
        assert_eq!(child.exit.try_recv(), Ok(last));
    }

    /// Starts children until one has the pid `wanted`. `None` if this process may not choose the next pid.
    fn child_with_pid(wanted: i32) -> Option<std::process::Child> {
        for _ in 0..1000 {
            fs::write("/proc/sys/kernel/ns_last_pid", (wanted - 1).to_string()).ok()?;
            let child = sleep();
            if pid(&child) == wanted {
                return Some(child);
            }
            // Another process was started in between.
            end(child);
        }
        None
    }

    #[test]
    fn a_signal_does_not_reach_the_next_process_with_the_same_pid() {
        let first = sleep();
        let process = PidFd::open(pid(&first)).unwrap();
        let pid = pid(&first);
        assert!(process.is_child());
        process.signal(0).unwrap();
        assert_eq!(process.signal(1000), Err(Errno::EINVAL));
        end(first);
        assert!(!process.is_child());
        let Some(mut second) = child_with_pid(pid) else {
            println!("NOT RUN: cannot choose the pid of the next process");
            return;
        };
        assert_eq!(process.signal(libc::SIGKILL), Err(Errno::ESRCH));
        assert!(second.try_wait().unwrap().is_none(), "another process was killed");
        end(second);
    }

    pub(crate) fn is_alive(pid: &str) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
    }

    #[tokio::test]
    async fn a_program_is_killed_with_its_children_at_its_limit() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("pid");
        let reaper = Arc::new(Reaper::default());
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 1000 & echo $!; wait"]).stdin(Stdio::null());
        let program = reaper.spawn(command.stdout(fs::File::create(&output).unwrap())).unwrap();
        let child = eventually("the program's child", || {
            let text = fs::read_to_string(&output).unwrap();
            text.ends_with('\n').then(|| text.trim().to_owned())
        });
        assert!(is_alive(&child));
        let leader = program.child.pid;
        let ended = reaper.collect_until(program.end_within(Duration::from_millis(10))).await.unwrap();
        assert_eq!(ended, Ended::Killed);
        assert_eq!(PidFd::open(leader).unwrap_err(), Errno::ESRCH, "the program was not reaped");
        eventually("the program's child is killed", || (!is_alive(&child)).then_some(()));
    }
}
