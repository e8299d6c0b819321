//! Detects OOM kills, even if the container's cgroup is removed at once.
//!
//! Where systemd manages cgroups, systemd removes a container's cgroup as soon as the last process has exited. The kernel's
//! count of OOM kills may be gone before the shim has collected the exit. The shim therefore looks at three moments:
//!
//! - Before: when the container is created, as a baseline.
//! - At each change: the kernel wakes the shim when it kills, while the killed process still exits.
//! - After the exit. If the cgroup is gone then, version 2 still has the parent's count, which includes its children's.
//!   Version 1 has no such count, but the kernel has notified the shim of the OOM before the kill. `memory.failcnt` is no
//!   help, because it also grows when the kernel reclaims memory and kills nothing.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::{fd::AsRawFd as _, unix::fs::FileExt as _},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::event::{EventfdFlags, eventfd};
use tokio::{
    io::{Interest, unix::AsyncFd},
    time::timeout,
};

use super::{Cgroup, v2};
use crate::reaper::Exit;

/// Exit status of a process that `SIGKILL` ended.
const KILLED: u32 = 128 + 9;
/// Time for the kernel's notification that a cgroup of version 1 was removed.
const REMOVAL_TIMEOUT: Duration = Duration::from_millis(200);
/// Looks after a notification of version 1, which comes before the kill is counted, and the time between two.
const RECHECKS: u32 = 20;
const RECHECK_PAUSE: Duration = Duration::from_millis(50);

/// The counts of one container's cgroup.
pub(crate) struct OomMonitor {
    cgroup: Cgroup,
    seen: Mutex<Seen>,
    notifier: Option<Notifier>,
}

/// What the last look has found.
#[derive(Default)]
struct Seen {
    /// OOM kills in the cgroup.
    own: u64,
    /// Version 2: OOM kills in the parent cgroup and all its children, while `own` could still be read.
    parent: Option<u64>,
    /// Version 1: notifications of the kernel that no kill has followed yet.
    notifications: u64,
    /// Version 1: looks that remain after a notification.
    rechecks: u32,
}

/// Wakes the shim when a count may have changed.
enum Notifier {
    /// Version 1 (`cgroup-v1/memory.rst`, "OOM Control"): the kernel adds 1 to an eventfd before it kills, and once when the
    /// cgroup is removed.
    V1(AsyncFd<File>),
    /// Version 2: `memory.events` of the cgroup and of its parent. `poll(2)` reports a change as `POLLPRI`.
    V2 { own: AsyncFd<File>, parent: Option<AsyncFd<File>> },
}

impl OomMonitor {
    /// Takes the baseline. Call in the async runtime, after the container's creation and before its start.
    ///
    /// Without the kernel's notifications, such as in a nested container without the right to them, the other looks
    /// remain.
    pub(crate) fn new(cgroup: Cgroup) -> Self {
        let notifier = Notifier::new(&cgroup)
            .inspect_err(|error| log::debug!("no notifications of OOM kills in {cgroup:?}: {error}"))
            .ok();
        let monitor = Self { cgroup, seen: Mutex::default(), notifier };
        monitor.has_new_kills();
        monitor
    }

    /// Whether the kernel has killed processes of the container since the last call, by the cgroup's own count.
    pub(crate) fn has_new_kills(&self) -> bool {
        let mut seen = self.seen();
        // The parent first: a kill between both reads is then in `own` and is not missed.
        let parent = self.cgroup.parent_oom_kills();
        let Some(own) = self.cgroup.oom_kills() else { return false };
        seen.parent = parent;
        own > std::mem::replace(&mut seen.own, own)
    }

    /// As [`Self::has_new_kills`], after `exit` of a process of the container. Also finds the kill if the cgroup was removed.
    ///
    /// A kill in another container of the pod counts only if it happened within the same milliseconds.
    pub(crate) async fn has_killed(&self, exit: Exit) -> bool {
        if self.has_new_kills() {
            return true;
        }
        if exit.status != KILLED || self.cgroup.oom_kills().is_some() {
            return false;
        }
        match &self.notifier {
            Some(Notifier::V1(eventfd)) => self.was_notified(eventfd).await,
            _ => {
                let before = self.seen().parent;
                let now = self.cgroup.parent_oom_kills();
                before.zip(now).is_some_and(|(before, now)| now > before)
            }
        }
    }

    /// Waits until [`Self::has_new_kills`] may have changed. Never returns without the kernel's notifications.
    ///
    /// # Errors
    /// When the kernel's notification cannot be read.
    pub(crate) async fn changed(&self) -> io::Result<()> {
        match &self.notifier {
            None => std::future::pending().await,
            Some(Notifier::V1(eventfd)) => {
                if self.has_recheck() && timeout(RECHECK_PAUSE, eventfd.readable()).await.is_err() {
                    return Ok(());
                }
                eventfd.readable().await?.clear_ready();
                self.count_notifications(eventfd);
                self.seen().rechecks = RECHECKS;
                Ok(())
            }
            Some(Notifier::V2 { own, parent: None }) => acknowledge(own).await,
            Some(Notifier::V2 { own, parent: Some(parent) }) => tokio::select! {
                changed = acknowledge(own) => changed,
                changed = acknowledge(parent) => changed,
            },
        }
    }

    /// Whether to look again without a notification. Takes one of the looks that remain.
    ///
    /// After the last look, the notifications are forgotten: they were about another container. If a pod exceeds its limit,
    /// the kernel notifies all its cgroups and kills in one of them.
    fn has_recheck(&self) -> bool {
        let mut seen = self.seen();
        let Some(left) = seen.rechecks.checked_sub(1) else { return false };
        seen.rechecks = left;
        if left == 0 {
            seen.notifications = 0;
        }
        true
    }

    /// Version 1, after the removal of the cgroup: whether the kernel notified the shim of more than the removal.
    async fn was_notified(&self, eventfd: &AsyncFd<File>) -> bool {
        let second = async {
            while self.count_notifications(eventfd) < 2 {
                match eventfd.readable().await {
                    Ok(mut ready) => ready.clear_ready(),
                    Err(_) => return,
                }
            }
        };
        timeout(REMOVAL_TIMEOUT, second).await.is_ok()
    }

    /// Adds the notifications since the last call, and returns their number.
    fn count_notifications(&self, eventfd: &AsyncFd<File>) -> u64 {
        let mut count = [0; size_of::<u64>()];
        // Fails if there is none.
        let new = eventfd.get_ref().read_exact(&mut count).map_or(0, |()| u64::from_ne_bytes(count));
        let mut seen = self.seen();
        seen.notifications = seen.notifications.saturating_add(new);
        seen.notifications
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notifier {
    fn new(cgroup: &Cgroup) -> io::Result<Self> {
        match cgroup {
            Cgroup::V1(directories) => directories.memory().map_or_else(
                || Err(io::Error::other("no controller memory")),
                |directory| Ok(Self::V1(register(eventfd_of(directory)?, Interest::READABLE)?)),
            ),
            Cgroup::V2(directory) => {
                let events = |directory: &Path| {
                    register(File::open(directory.join(v2::MEMORY_EVENTS))?, Interest::PRIORITY)
                };
                let parent = directory.parent().and_then(|parent| events(parent).ok());
                Ok(Self::V2 { own: events(directory)?, parent })
            }
        }
    }
}

/// An eventfd that the kernel increments when the cgroup of version 1 is out of memory.
fn eventfd_of(directory: &Path) -> io::Result<File> {
    let eventfd = File::from(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let control = File::open(directory.join("memory.oom_control"))?;
    let mut registration = OpenOptions::new().write(true).open(directory.join("cgroup.event_control"))?;
    registration.write_all(format!("{} {}", eventfd.as_raw_fd(), control.as_raw_fd()).as_bytes())?;
    Ok(eventfd)
}

fn register(file: File, interest: Interest) -> io::Result<AsyncFd<File>> {
    #[expect(
        unsafe_code,
        reason = "`AsyncFd::register_with_interest` requires that the descriptor stays open"
    )]
    // SAFETY: the `AsyncFd` owns the file. Nothing closes or replaces the descriptor before the `AsyncFd` is dropped.
    let registered = unsafe { AsyncFd::register_with_interest(file, interest) };
    Ok(registered?)
}

/// Waits for a change of a file of version 2, and reads the file, so that the kernel reports the next change.
async fn acknowledge(events: &AsyncFd<File>) -> io::Result<()> {
    events.ready(Interest::PRIORITY).await?.clear_ready();
    // The content is read by path. Reading fails after the removal of the cgroup.
    events.get_ref().read_at(&mut [0; 512], 0).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        path::PathBuf,
        process::{Child, Command, Stdio},
        time::SystemTime,
    };

    use super::*;

    fn exit(status: u32) -> Exit {
        Exit { status, at: SystemTime::now() }
    }

    /// A cgroup of this machine. Dropping it removes it.
    struct TestCgroup(PathBuf);

    impl TestCgroup {
        /// `None`, after a message, where this process may not create cgroups.
        fn new(hierarchy: &str, name: &str) -> Option<Self> {
            let directory = Path::new(hierarchy).join(format!("shim-unit-{}-{name}", std::process::id()));
            match fs::create_dir(&directory) {
                Ok(()) => Some(Self(directory)),
                Err(error) => {
                    println!("NOT RUN: cannot create the cgroup {}: {error}", directory.display());
                    None
                }
            }
        }

        /// Starts `script` in the cgroup.
        fn run(&self, script: &str) -> Child {
            let script = format!("echo $$ >{}/cgroup.procs && {script}", self.0.display());
            Command::new("sh").args(["-c", &script]).stdin(Stdio::null()).spawn().unwrap()
        }

        /// Removes the cgroup, as systemd does after the last process's exit.
        fn remove(&self) {
            fs::remove_dir(&self.0).unwrap();
        }
    }

    impl Drop for TestCgroup {
        fn drop(&mut self) {
            // A process that was killed may still exit.
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            while fs::remove_dir(&self.0).is_err() && self.0.exists() && std::time::Instant::now() < deadline
            {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// The machine's hierarchy of version 1 with memory.
    const V1: &str = "/sys/fs/cgroup/memory";

    /// A cgroup with a limit of 16 MiB.
    fn limited(name: &str) -> Option<(TestCgroup, OomMonitor)> {
        let cgroup = TestCgroup::new(V1, name)?;
        for file in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] {
            // Without swap accounting, the second file does not exist.
            let _ = fs::write(cgroup.0.join(file), "16777216");
        }
        let monitor = OomMonitor::new(v1(&cgroup));
        Some((cgroup, monitor))
    }

    /// The cgroup as a container's.
    fn v1(cgroup: &TestCgroup) -> Cgroup {
        let member = format!("4:memory:/{}\n", cgroup.0.strip_prefix(V1).unwrap().display());
        let mounts = format!("35 31 0:32 / {V1} rw - cgroup cgroup rw,memory\n");
        Cgroup::locate(&member, &mounts).unwrap()
    }

    /// A limit of the pod: the kernel notifies the cgroups of all its containers.
    #[tokio::test]
    async fn an_oom_kill_in_another_container_of_the_pod_is_forgotten() {
        let Some((pod, _)) = limited("pod") else { return };
        let child = |name: &str| {
            let cgroup = TestCgroup(pod.0.join(name));
            fs::create_dir(&cgroup.0).unwrap();
            cgroup
        };
        let (own, other) = (child("own"), child("other"));
        let monitor = OomMonitor::new(v1(&own));
        let mut process = own.run("exec sleep 1000");
        assert!(!other.run(EAT).wait().unwrap().success());
        while monitor.seen().notifications == 0 {
            monitor.changed().await.unwrap();
        }
        while monitor.seen().rechecks > 0 {
            monitor.changed().await.unwrap();
        }
        assert!(!monitor.has_new_kills());
        process.kill().unwrap();
        process.wait().unwrap();
        own.remove();
        assert!(!monitor.has_killed(exit(KILLED)).await);
    }

    const EAT: &str = "x=x; while true; do x=$x$x$x$x; done";

    /// As with systemd's cgroup driver: the cgroup is gone before the shim has collected the exit.
    #[tokio::test]
    async fn an_oom_kill_is_found_after_its_cgroup_was_removed() {
        let Some((cgroup, monitor)) = limited("gone") else { return };
        assert!(!cgroup.run(EAT).wait().unwrap().success());
        cgroup.remove();
        assert!(monitor.has_killed(exit(KILLED)).await);
    }

    #[tokio::test]
    async fn a_kill_by_somebody_else_is_no_oom_kill() {
        let Some((cgroup, monitor)) = limited("killed") else { return };
        let mut child = cgroup.run("exec sleep 1000");
        child.kill().unwrap();
        child.wait().unwrap();
        cgroup.remove();
        assert!(!monitor.has_killed(exit(KILLED)).await);
    }

    /// The kernel's notification comes while the container runs. The init process need not exit.
    #[tokio::test]
    async fn an_oom_kill_wakes_the_shim() {
        let Some((cgroup, monitor)) = limited("woken") else { return };
        let mut init = cgroup.run(&format!("sh -c '{EAT}'; exec sleep 1000"));
        let found = timeout(Duration::from_secs(30), async {
            while !monitor.has_new_kills() {
                monitor.changed().await.unwrap();
            }
        });
        found.await.unwrap();
        init.kill().unwrap();
        init.wait().unwrap();
        assert!(!monitor.has_new_kills(), "the same kill was found twice");
    }

    /// Files as in version 2, because this machine's version 2 may have no controller `memory`.
    struct FakeV2(tempfile::TempDir);

    impl FakeV2 {
        fn new() -> Self {
            let fake = Self(tempfile::tempdir().unwrap());
            fs::create_dir(fake.own()).unwrap();
            fake.kills(2, 0);
            fake
        }

        fn own(&self) -> PathBuf {
            self.0.path().join("cri-containerd-c.scope")
        }

        fn kills(&self, parent: u64, own: u64) {
            fs::write(self.0.path().join("memory.events"), format!("oom 9\noom_kill {parent}\n")).unwrap();
            if self.own().exists() {
                fs::write(self.own().join("memory.events"), format!("oom 9\noom_kill {own}\n")).unwrap();
            }
        }
    }

    #[tokio::test]
    async fn the_parent_s_count_tells_after_a_removal() {
        let fake = FakeV2::new();
        let monitor = OomMonitor::new(Cgroup::V2(fake.own()));
        fs::remove_dir_all(fake.own()).unwrap();
        assert!(!monitor.has_killed(exit(KILLED)).await, "the parent's count did not change");
        fake.kills(3, 0);
        assert!(!monitor.has_killed(exit(0)).await, "the process was not killed");
        assert!(monitor.has_killed(exit(KILLED)).await);
    }

    #[tokio::test]
    async fn a_kill_in_another_container_does_not_count() {
        let fake = FakeV2::new();
        let monitor = OomMonitor::new(Cgroup::V2(fake.own()));
        fake.kills(3, 0);
        assert!(!monitor.has_new_kills());
        fs::remove_dir_all(fake.own()).unwrap();
        assert!(!monitor.has_killed(exit(KILLED)).await);
    }

    #[tokio::test]
    async fn the_cgroup_s_own_count_tells_while_it_exists() {
        let fake = FakeV2::new();
        let monitor = OomMonitor::new(Cgroup::V2(fake.own()));
        fake.kills(3, 1);
        assert!(monitor.has_killed(exit(KILLED)).await);
        assert!(!monitor.has_killed(exit(KILLED)).await, "the same kill was found twice");
    }

    /// `memory.events` and `cgroup.events` notify in the same way. Every machine with version 2 has the second file.
    #[tokio::test]
    async fn a_change_of_a_file_of_version_2_wakes_the_shim() {
        let hierarchy = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let hierarchy = hierarchy.into_iter().find(|path| Path::new(path).join("cgroup.procs").exists());
        let Some(hierarchy) = hierarchy else {
            println!("NOT RUN: no cgroup version 2");
            return;
        };
        let Some(cgroup) = TestCgroup::new(hierarchy, "events") else { return };
        let path = cgroup.0.join("cgroup.events");
        let events = register(File::open(&path).unwrap(), Interest::PRIORITY).unwrap();
        let mut child = cgroup.run("exec sleep 1000");
        let populated = timeout(Duration::from_secs(30), async {
            while !fs::read_to_string(&path).unwrap().contains("populated 1") {
                acknowledge(&events).await.unwrap();
            }
        });
        populated.await.unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let empty = timeout(Duration::from_secs(30), async {
            while !fs::read_to_string(&path).unwrap().contains("populated 0") {
                acknowledge(&events).await.unwrap();
            }
        });
        empty.await.unwrap();
    }
}
