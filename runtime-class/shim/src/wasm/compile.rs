//! Compiles a component before its first start on the node.
//!
//! A component is untrusted input, and a compiler is a large program with possible bugs. The compiler therefore runs in a
//! sandbox: as a user without rights that no other compiler has, in a PID namespace and a cgroup of its own, without a
//! network, and with limits on time, memory, processes, file size and system calls. A node runs four compilers at once. A compiler sees the
//! host's program and the component, and nothing else of the image or the node. It can write only to a directory for this
//! component.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::{
        fs::{DirBuilderExt as _, FileExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::{Command, ExitStatus, Stdio, exit},
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl::{set_no_new_privs, set_pdeathsig},
        resource::{Resource, setrlimit},
        signal::Signal,
    },
    unistd::{Gid, Uid, chdir, chroot, setgroups, setresgid, setresuid},
};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use wasi_http_host_core::bounded;

use super::{
    app::Component,
    cache::Slot,
    layout::{ARTIFACT, CODE, DIRECTORY, HOST},
    syscalls,
};
use crate::{
    cgroup::{self, Limits},
    error::{Context as _, Error, Result},
    flags::PROGRAM,
    node::Node,
    reaper::Ended,
};

/// The shim's own command that enters the sandbox and executes the compiler.
pub(crate) const ACTION: &str = "wasi-http-compile";
/// The shim's own command that runs in the compiler's PID namespace.
pub(crate) const SANDBOX_ACTION: &str = "wasi-http-compile-sandbox";
/// Wall-clock time for one compilation.
const COMPILE_TIMEOUT: Duration = Duration::from_secs(120);
/// Bytes of one file of compiled code (`RLIMIT_FSIZE`).
const FILE_MAX: u64 = 1 << 30;
/// Seconds of CPU time of all threads together (`RLIMIT_CPU`).
const CPU_MAX: u64 = 600;
/// What a compiler may use, by its cgroup. The pod's cgroup does not count: a pod whose component needs little memory could
/// not start on a node where nobody has compiled the component. There is no limit on address space (`RLIMIT_AS`): the host
/// reserves terabytes for its pool of instances, and code that is compiled without a pool does not fit the host that serves.
const LIMITS: Limits = Limits { memory: 2 << 30, cores: 2, tasks: 1024 };
/// Largest `oom_score_adj`: the kernel kills the compiler before other processes.
const OOM_SCORE: &str = "1000";
/// Bytes at the end of the compiler's standard error that are read.
const MESSAGE_MAX: usize = 16 << 10;
/// Bytes of the reason that becomes part of the error message. The API server cuts the message of an event after 1,024.
const REASON_MAX: usize = 800;
/// Exit status of the shim's commands when no compiler ran, which is not the component's fault: `EX_OSERR` of `sysexits.h`.
/// The host has no such status.
const NOT_RUN: u8 = 71;
/// What the line begins with in which the host says why it failed.
const HOST_FAILURE: &str = "wasi-http-host: ";
/// How the host names the component, by its file in the sandbox. Nobody outside knows it by this name.
const SANDBOX_NAME: &str = "component \"app\": ";

/// Compiles `component` into `directory`, which belongs to the slot's user.
///
/// # Errors
/// `InvalidArgument` with the reason when the compiler fails or takes longer than 120 s (then it is killed). The reason names
/// neither the image nor the file, because the node remembers it for all images with this component. `Other` when the compiler
/// could not be started.
pub(super) async fn compile(node: &Node, component: &Component, directory: &Path, slot: &Slot) -> Result<()> {
    let log = directory.with_extension("log");
    let output = OpenOptions::new().write(true).create(true).truncate(true).open(&log);
    let output = output.context(|| log.display())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(ACTION).args([slot.number.to_string(), slot.user.to_string()]);
    command.arg(&node.host).arg(directory).arg(&component.file);
    // Without the pod's flags and variables. The code does not depend on them, the host reports wrong ones at its start,
    // and a variable such as LD_PRELOAD would let a pod run code outside its container.
    command.env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
    let program = node.reaper.spawn(&mut command).context(|| "start the compiler")?;
    let ended = program.end_within(COMPILE_TIMEOUT).await;
    let messages = read_end(&log, MESSAGE_MAX).unwrap_or_default();
    // Best effort: the next compilation of this app overwrites the file.
    let _ = fs::remove_file(&log);
    match ended {
        Ok(Ended::Exited(exit)) if exit.status == 0 => Ok(()),
        Ok(Ended::Exited(exit)) => Err(failure(&messages, exit.status)),
        Ok(Ended::Killed) => Err(Error::InvalidArgument(format!(
            "the compiler was killed after {} s",
            COMPILE_TIMEOUT.as_secs()
        ))),
        Err(error) => Err(Error::Other(format!("the compiler's exit status was not collected: {error}"))),
    }
}

/// The last `length` bytes of a file. The compiler may have written any number.
fn read_end(path: &Path, length: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(length as u64);
    let mut end = vec![0; length];
    let read = file.read_at(&mut end, start)?;
    end.truncate(read);
    Ok(end)
}

/// The error of a compilation that ended with `status`.
fn failure(messages: &[u8], status: u32) -> Error {
    let reason = reason(messages, status);
    if status == u32::from(NOT_RUN) {
        Error::Other(format!("the compiler could not be started: {reason}"))
    } else {
        Error::InvalidArgument(reason)
    }
}

/// Why the compiler failed, on one line: the line in which the host says it. Log lines come before that line. A compiler
/// that was killed has no such line; then it is the exit status and the end of the messages.
fn reason(messages: &[u8], status: u32) -> String {
    let text = String::from_utf8_lossy(messages);
    match text.lines().rev().find_map(|line| line.strip_prefix(HOST_FAILURE)) {
        Some(said) => {
            let said = printable(said.strip_prefix(SANDBOX_NAME).unwrap_or(said));
            bounded(&said, REASON_MAX).to_owned()
        }
        None => {
            let end = printable(&text);
            let start = end.ceil_char_boundary(end.len().saturating_sub(REASON_MAX));
            format!("exit status {status}: {}", end.get(start..).unwrap_or_default())
        }
    }
}

/// `text` on one line, without control characters: the error is shown on terminals.
fn printable(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace(char::is_control, "\u{fffd}")
}

/// The command [`ACTION`]: enters the cgroup of its slot, makes a PID namespace, and runs [`SANDBOX_ACTION`] in it as process
/// 1. With that process, the kernel ends all processes of the namespace.
///
/// # Errors
/// When a signal ended the compiler. Its own exit status becomes the status of this process, which is [`NOT_RUN`] when the
/// cgroup cannot be made or the compiler cannot be started.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    let status = run_in_cgroup(args).unwrap_or_else(|error| not_run(&error));
    match status.code() {
        Some(code) => exit(code),
        None => Err(Error::Other(format!("the compiler ended by {status}"))),
    }
}

fn run_in_cgroup(args: &[OsString]) -> Result<ExitStatus> {
    set_pdeathsig(Signal::SIGKILL).context(|| "set the parent-death signal")?;
    let slot = args.first().map(|slot| slot.to_string_lossy()).unwrap_or_default();
    cgroup::enter(&format!("wasi-http-compile-{slot}"), LIMITS)?;
    unshare(CloneFlags::CLONE_NEWPID).context(|| "create a PID namespace")?;
    let status = Command::new("/proc/self/exe").arg(SANDBOX_ACTION).args(args).status();
    status.context(|| "start the compiler")
}

/// The command [`SANDBOX_ACTION`]: enters the sandbox and executes the compiler. Ends the process with [`NOT_RUN`] when it
/// cannot.
pub(crate) fn run_sandboxed(args: &[OsString]) -> ! {
    not_run(&execute_sandboxed(args))
}

fn not_run(error: &Error) -> ! {
    eprintln!("{PROGRAM}: {error}");
    exit(NOT_RUN.into())
}

/// Returns only on failure.
fn execute_sandboxed(args: &[OsString]) -> Error {
    let [_, user, host, directory, component] = args else {
        return Error::InvalidArgument(format!("{SANDBOX_ACTION}: expected 5 arguments, got {}", args.len()));
    };
    let Ok(user) = user.to_string_lossy().parse() else {
        return Error::InvalidArgument(format!("{SANDBOX_ACTION}: {} is no user id", user.display()));
    };
    let (host, directory, component) = (Path::new(host), Path::new(directory), Path::new(component));
    let bind_mounts = [(host, HOST), (directory, CODE), (component, ARTIFACT)];
    if let Err(error) = enter_sandbox(user, directory, &bind_mounts) {
        return error;
    }
    let error = Command::new(HOST).arg("compile").args(["--cache-dir", CODE]).arg(ARTIFACT).exec();
    Error::Other(format!("execute {}: {error}", host.display()))
}

/// Enters the sandbox. `bind_mounts` are paths of the node and their places in the sandbox's root, which is an empty file
/// system. It is mounted on `directory`, for this process alone.
fn enter_sandbox(user: u32, directory: &Path, bind_mounts: &[(&Path, &str)]) -> Result<()> {
    // The compiler must not outlive the process that waits for it.
    set_pdeathsig(Signal::SIGKILL).context(|| "set the parent-death signal")?;
    // The compiler must not inherit the shim's protection from the OOM killer.
    fs::write("/proc/self/oom_score_adj", OOM_SCORE).context(|| "set oom_score_adj")?;
    let spaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC;
    unshare(spaces).context(|| "create namespaces")?;
    mount::<str, str, str, str>(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)
        .context(|| "make the mounts private")?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mut trees = Vec::new();
    for (source, target) in bind_mounts {
        let tree = open_tree(rustix::fs::CWD, *source, flags).context(|| source.display())?;
        trees.push((tree, source.is_dir(), *target));
    }
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount::<str, Path, str, str>(Some("tmpfs"), directory, Some("tmpfs"), flags, Some("size=64k,mode=755"))
        .context(|| "mount the sandbox's root")?;
    chroot(directory).context(|| directory.display())?;
    chdir("/").context(|| "/")?;
    DirBuilder::new().mode(0o755).create(DIRECTORY).context(|| DIRECTORY)?;
    for (tree, is_directory, target) in trees {
        if is_directory {
            DirBuilder::new().mode(0o755).create(target).context(|| target)?;
        } else {
            File::create(target).context(|| target)?;
        }
        move_mount(tree, "", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .context(|| target)?;
    }
    setrlimit(Resource::RLIMIT_FSIZE, FILE_MAX, FILE_MAX).context(|| "set RLIMIT_FSIZE")?;
    setrlimit(Resource::RLIMIT_CPU, CPU_MAX, CPU_MAX).context(|| "set RLIMIT_CPU")?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context(|| "set RLIMIT_CORE")?;
    // No RLIMIT_NPROC: it counts all tasks of the user on the node, and a pod may run as this user. The cgroup counts.
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(user));
    setgroups(&[]).context(|| "drop supplementary groups")?;
    setresgid(group, group, group).context(|| "set the group")?;
    setresuid(user, user, user).context(|| "set the user")?;
    set_no_new_privs().context(|| "set no_new_privs")?;
    // Again, because the kernel clears this setting when the user changes.
    set_pdeathsig(Signal::SIGKILL).context(|| "set the parent-death signal")?;
    // Last, because the calls above are not among those that a compiler may make.
    syscalls::restrict()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_end_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        // Sparse: the file has 1 TiB, and no reader could keep it in memory.
        File::create(&log).unwrap().set_len(1 << 40).unwrap();
        let file = OpenOptions::new().append(true).open(&log).unwrap();
        io::Write::write_all(&mut &file, b"the reason").unwrap();
        let end = read_end(&log, MESSAGE_MAX).unwrap();
        assert_eq!(end.len(), MESSAGE_MAX);
        assert!(end.ends_with(b"\0the reason"));
        fs::write(&log, "short").unwrap();
        assert_eq!(read_end(&log, MESSAGE_MAX).unwrap(), b"short");
    }

    #[test]
    fn the_reason_is_what_the_host_says_last_and_not_its_log() {
        let messages =
            " INFO compiling component=\"app\" bytes=18\nwasi-http-host: component \"app\": it is invalid\n";
        assert_eq!(reason(messages.as_bytes(), 1), "it is invalid");
        let long = format!("wasi-http-host: {}", "é".repeat(REASON_MAX));
        assert_eq!(reason(long.as_bytes(), 1), "é".repeat(REASON_MAX / 2));
    }

    #[test]
    fn a_compiler_that_did_not_run_says_nothing_of_the_component() {
        let messages = b"containerd-shim-wasi-http-v1: create namespaces: No space left on device";
        assert!(matches!(failure(messages, NOT_RUN.into()), Error::Other(_)));
        assert!(matches!(failure(b"wasi-http-host: it is invalid", 1), Error::InvalidArgument(_)));
        let killed = b"containerd-shim-wasi-http-v1: the compiler ended by signal: 9 (SIGKILL)";
        assert!(matches!(failure(killed, 1), Error::InvalidArgument(_)));
    }

    #[test]
    fn without_a_reason_it_is_the_exit_status_and_the_end_of_the_messages() {
        assert_eq!(reason(b"", 137), "exit status 137: ");
        assert_eq!(
            reason(b"memory allocation\nof 12 bytes \x1b[1mfailed", 134),
            "exit status 134: memory allocation of 12 bytes \u{fffd}[1mfailed"
        );
        let said = reason(&"é".repeat(REASON_MAX).into_bytes(), 1);
        assert_eq!(said, format!("exit status 1: {}", "é".repeat(REASON_MAX / 2)));
    }
}
