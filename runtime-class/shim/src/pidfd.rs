//! References to processes (`pidfd_open(2)`). The kernel may use a process's number again after the process was reaped; a
//! signal over the reference never reaches another process.

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use nix::{
    errno::Errno,
    libc,
    sys::wait::{Id, WaitPidFlag, WaitStatus, waitid},
};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// One process, running or not yet reaped.
#[derive(Debug)]
pub(crate) struct PidFd(OwnedFd);

impl PidFd {
    /// # Errors
    /// `ESRCH` when there is no process `pid`.
    pub(crate) fn open(pid: i32) -> Result<Self, Errno> {
        let pid = Pid::from_raw(pid).ok_or(Errno::ESRCH)?;
        let opened = pidfd_open(pid, PidfdFlags::empty());
        opened.map(Self).map_err(|error| Errno::from_raw(error.raw_os_error()))
    }

    /// Whether the process is a child of this process that nobody has reaped.
    pub(crate) fn is_child(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        // EINVAL: nix has no name for the real-time signal that killed the child.
        let waited = waitid(Id::PIDFd(self.0.as_fd()), flags);
        matches!(
            waited,
            Ok(WaitStatus::StillAlive | WaitStatus::Exited(..) | WaitStatus::Signaled(..))
                | Err(Errno::EINVAL)
        )
    }

    /// Sends the signal `number`.
    ///
    /// # Errors
    /// `ESRCH` when the process was reaped, `EINVAL` for a number that is no signal.
    pub(crate) fn signal(&self, number: i32) -> Result<(), Errno> {
        let info = std::ptr::null::<libc::siginfo_t>();
        #[expect(unsafe_code, reason = "no crate's signal type has both the number 0 and real-time signals")]
        // SAFETY: the descriptor is open, and the kernel accepts a null pointer for the signal's information.
        let sent =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), number, info, 0_u32) };
        Errno::result(sent).map(drop)
    }
}
