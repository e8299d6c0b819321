//! The system calls that a compiler may make (seccomp).
//!
//! A compiler computes, maps memory, starts threads, and writes files. Whatever else it asked for would be an attack on the
//! kernel: sockets, namespaces, mounts, other processes, keys, BPF programs. Such calls fail with `ENOSYS`, as on a kernel
//! without them, because the C library then uses an older call or goes on without.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    apply_filter,
};

use crate::error;

/// The calls of a compilation, and of an abort, on all processors. `strace -f wasi-http-host compile` shows those that
/// succeed. `clone` is not among them: its flags decide. Nor is `clone3`, whose flags a filter cannot read.
const ALLOWED: &[c_long] = &[
    // Files in the sandbox.
    libc::SYS_close,
    libc::SYS_faccessat,
    libc::SYS_fallocate,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fcntl,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_ppoll,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_read,
    libc::SYS_readlinkat,
    libc::SYS_readv,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statx,
    libc::SYS_unlinkat,
    libc::SYS_write,
    libc::SYS_writev,
    // Memory.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads, and signals of the process to itself: the compiler is process 1 of its PID namespace.
    libc::SYS_futex,
    libc::SYS_get_robust_list,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_sigaltstack,
    libc::SYS_tgkill,
    // The start, the end, and what they read.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_execve,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getrandom,
    libc::SYS_getuid,
    libc::SYS_nanosleep,
    libc::SYS_prlimit64,
    libc::SYS_restart_syscall,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];

/// The older forms that the C library still uses on this processor.
#[cfg(target_arch = "x86_64")]
const OF_THIS_PROCESSOR: &[c_long] = &[
    libc::SYS_access,
    libc::SYS_arch_prctl,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_stat,
    libc::SYS_unlink,
];
/// wasmtime makes all processors discard the instructions that they have fetched from where it wrote code. If this call fails,
/// the compilation fails.
#[cfg(target_arch = "aarch64")]
const OF_THIS_PROCESSOR: &[c_long] = &[libc::SYS_membarrier];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const OF_THIS_PROCESSOR: &[c_long] = &[];

/// Restricts this thread, and the program and the threads that it starts, to these calls. No right undoes this.
///
/// # Errors
/// The kernel has no seccomp, or the processor is none of those that the filter knows.
pub(super) fn restrict() -> error::Result<()> {
    let restricted = program().and_then(|program| apply_filter(&program));
    restricted.map_err(|error| error::Error::Other(format!("restrict the system calls: {error}")))
}

fn program() -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        ALLOWED.iter().chain(OF_THIS_PROCESSOR).map(|call| (*call, Vec::new())).collect();
    let thread = libc::CLONE_THREAD as u64;
    let is_thread =
        SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), thread)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is_thread])?]);
    let absent = SeccompAction::Errno(libc::ENOSYS as u32);
    let filter = SeccompFilter::new(rules, absent, SeccompAction::Allow, std::env::consts::ARCH.try_into()?)?;
    Ok(filter.try_into()?)
}

#[cfg(test)]
mod tests {
    use std::{
        fs, io,
        net::UdpSocket,
        os::unix::net::UnixDatagram,
        process::Command,
        thread::{available_parallelism, spawn},
    };

    use nix::{
        errno::Errno,
        mount::{MsFlags, mount},
        sched::{CloneFlags, unshare},
    };

    use super::*;

    /// Runs `test` in a thread with restricted calls. Other threads of this process keep theirs.
    fn restricted(test: impl FnOnce() + Send + 'static) {
        let thread = spawn(move || {
            restrict().unwrap();
            test();
        });
        thread.join().unwrap();
    }

    #[test]
    fn sockets_namespaces_mounts_and_processes_are_out_of_reach() {
        restricted(|| {
            let absent = |error: io::Error| assert_eq!(error.raw_os_error(), Some(libc::ENOSYS), "{error}");
            absent(UdpSocket::bind("127.0.0.1:0").unwrap_err());
            absent(UnixDatagram::unbound().unwrap_err());
            absent(Command::new("/bin/true").spawn().unwrap_err());
            for flags in [CloneFlags::CLONE_NEWUSER, CloneFlags::CLONE_NEWNET, CloneFlags::CLONE_FS] {
                assert_eq!(unshare(flags), Err(Errno::ENOSYS));
            }
            assert_eq!(
                mount::<str, str, str, str>(None, "/", None, MsFlags::MS_REMOUNT, None),
                Err(Errno::ENOSYS)
            );
        });
    }

    #[test]
    fn files_memory_and_threads_work() {
        let directory = tempfile::tempdir().unwrap();
        let (code, renamed) = (directory.path().join("code"), directory.path().join("renamed"));
        restricted(move || {
            fs::write(&code, vec![1; 1 << 20]).unwrap();
            fs::rename(&code, &renamed).unwrap();
            assert_eq!(spawn(move || fs::read(renamed).unwrap().len()).join().unwrap(), 1 << 20);
            assert!(available_parallelism().is_ok());
        });
    }
}
