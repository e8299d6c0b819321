//! Compiling a component before its first start.
//!
//! A component is not ours, and a compiler is a large program to show it to. So it runs as a user without rights, in
//! the image's root file system, without a network, and writes into a directory of this component alone.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, OpenOptions},
    os::unix::{fs::DirBuilderExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::{
        prctl::{set_no_new_privs, set_pdeathsig},
        resource::{Resource, setrlimit},
        signal::{Signal, kill},
    },
    unistd::{Gid, Pid, Uid, chdir, chroot, setgroups, setresgid, setresuid},
};
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use tokio::time::timeout;

use super::{ARTIFACT, CACHE, DIRECTORY, HOST, app::App};
use crate::{
    error::{Context as _, Error, Result},
    node::Node,
    spec::Spec,
};

/// The compiler's user and group: no one else's, so that no other program without rights can touch what it writes.
pub(super) const USER: u32 = 64_999;
/// The shim's own command that confines itself and becomes the compiler.
pub(crate) const ACTION: &str = "wasi-http-compile";
/// For one compilation.
const LIMIT: Duration = Duration::from_secs(120);
/// Bytes of compiled code.
const FILE_MAX: u64 = 1 << 30;
/// Seconds of processor time, all threads together.
const CPU_MAX: u64 = 600;
/// The kernel's highest score: killed before anything else.
const OOM_SCORE: &str = "1000";
/// Bytes of what the compiler said that are shown.
const MESSAGE_MAX: usize = 2_000;

/// Compiles `app` into `directory`, which belongs to [`USER`].
pub(super) async fn compile(
    node: &Node,
    app: &App,
    spec: &Spec,
    rootfs: &Path,
    directory: &Path,
) -> Result<()> {
    let log = directory.with_extension("log");
    let output = OpenOptions::new().write(true).create(true).truncate(true).open(&log);
    let output = output.context(|| log.display())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(ACTION).arg(rootfs).arg(&node.host).arg(directory);
    command.arg(app.artifact.as_deref().unwrap_or(Path::new("")));
    // Neither flags nor variables of the pod: the code does not depend on them, what is wrong with them is the program's
    // to say when it starts, and with LD_PRELOAD a pod could reach beyond itself.
    command.arg(&app.path).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).process_group(0);
    let spawned = node.reaper.spawn(&mut command);
    let (child, exit) = spawned.context(|| "cannot start the compiler")?;
    let ended = timeout(LIMIT, exit).await;
    let said = fs::read(&log).unwrap_or_default();
    // Best effort: the next compilation overwrites it.
    let _ = fs::remove_file(&log);
    let reason = match ended {
        Ok(Ok(exit)) if exit.status == 0 => return Ok(()),
        Ok(Ok(exit)) => format!("exit status {}: {}", exit.status, tail(&said)),
        Ok(Err(_)) => "its exit was lost".to_owned(),
        Err(_) => {
            if let Ok(pid) = i32::try_from(child.id()) {
                // The group: whatever it started, too. It may have ended meanwhile.
                let _ = kill(Pid::from_raw(-pid), Signal::SIGKILL);
            }
            format!("not done after {} s", LIMIT.as_secs())
        }
    };
    let image = spec.annotation("io.kubernetes.cri.image-name").unwrap_or("of this container");
    Err(Error::InvalidArgument(format!("image {image}: {} cannot be compiled: {reason}", app.path)))
}

/// The end of what it said, on one line.
fn tail(said: &[u8]) -> String {
    let said = said.get(said.len().saturating_sub(MESSAGE_MAX)..).unwrap_or_default();
    String::from_utf8_lossy(said).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The command [`ACTION`]: confines this process and becomes the compiler. Returns only what went wrong.
pub(crate) fn run(args: &[OsString]) -> Error {
    let [rootfs, host, directory, artifact, app] = args else {
        return Error::InvalidArgument("wrong arguments".to_owned());
    };
    let shown =
        [(PathBuf::from(host), HOST), (PathBuf::from(directory), CACHE), (PathBuf::from(artifact), ARTIFACT)];
    if let Err(error) = confine(Path::new(rootfs), &shown) {
        return error;
    }
    let failed = Command::new(HOST).arg("compile").args(["--cache-dir", CACHE]).arg(app).exec();
    Error::Other(format!("{}: {failed}", Path::new(host).display()))
}

fn confine(rootfs: &Path, shown: &[(PathBuf, &str)]) -> Result<()> {
    // Where memory is short, the compiler goes first: it must not keep the protection that the shim has.
    fs::write("/proc/self/oom_score_adj", OOM_SCORE).context(|| "oom_score_adj")?;
    let spaces = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC;
    unshare(spaces).context(|| "namespaces")?;
    mount::<str, str, str, str>(None, "/", None, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None)
        .context(|| "mounts")?;
    // Of an image's devices none opens, whoever may read them.
    let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount::<Path, Path, str, str>(Some(rootfs), rootfs, None, MsFlags::MS_BIND | MsFlags::MS_REC, None)
        .and_then(|()| mount::<str, Path, str, str>(None, rootfs, None, again, None))
        .context(|| rootfs.display())?;
    // Taken before the change of root, and placed after it: so no link in the image leads the mount elsewhere.
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mut trees = Vec::new();
    for (source, target) in shown.iter().filter(|(source, _)| !source.as_os_str().is_empty()) {
        let tree = open_tree(rustix::fs::CWD, source, flags).context(|| source.display())?;
        trees.push((tree, source.is_dir(), *target));
    }
    chroot(rootfs).context(|| rootfs.display())?;
    chdir("/").context(|| "/")?;
    DirBuilder::new().recursive(true).mode(0o755).create(DIRECTORY).context(|| DIRECTORY)?;
    for (tree, is_directory, target) in trees {
        if is_directory {
            DirBuilder::new().recursive(true).mode(0o755).create(target).context(|| target)?;
        } else {
            OpenOptions::new().create(true).append(true).open(target).context(|| target)?;
        }
        move_mount(tree, "", rustix::fs::CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .context(|| target)?;
    }
    setrlimit(Resource::RLIMIT_FSIZE, FILE_MAX, FILE_MAX).context(|| "limits")?;
    setrlimit(Resource::RLIMIT_CPU, CPU_MAX, CPU_MAX).context(|| "limits")?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context(|| "limits")?;
    let (user, group) = (Uid::from_raw(USER), Gid::from_raw(USER));
    setgroups(&[]).context(|| "groups")?;
    setresgid(group, group, group).context(|| "group")?;
    setresuid(user, user, user).context(|| "user")?;
    set_no_new_privs().context(|| "privileges")?;
    // Not to outlive the shim. Last, for the kernel forgets it when the user changes.
    set_pdeathsig(Signal::SIGKILL).context(|| "parent's death")
}
