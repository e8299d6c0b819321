//! The operating system: signals, limits, namespaces, and the resources of a process.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// Sends a signal.
///
/// # Errors
/// If there is no such process.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<(), String> {
    let pid = Pid::from_raw(i32::try_from(pid).map_err(|error| error.to_string())?);
    kill(pid, signal).map_err(|error| format!("{signal} to {pid}: {error}"))
}

/// Changes the limit of open files of a running process.
///
/// # Errors
/// If `prlimit` fails.
pub(crate) fn limit_open_files(pid: u32, limit: u64) -> Result<(), String> {
    let words = [format!("--pid={pid}"), format!("--nofile={limit}:")];
    let status = Command::new("prlimit").args(words).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("prlimit: {status}")),
        Err(error) => Err(format!("prlimit: {error}: apt-get install util-linux")),
    }
}

/// A command that runs `script` in a mount namespace of its own and then becomes the host. An ordinary user can do this where the
/// kernel allows user namespaces. The parameters of the script are `arguments`.
///
/// # Errors
/// If the kernel refuses the namespace.
pub(crate) fn with_mounts(script: &str, arguments: &[&Path]) -> Result<Vec<OsString>, NotRunnable> {
    let mut unshare: Vec<OsString> = vec!["unshare".into()];
    if !geteuid().is_root() {
        unshare.extend(["--user", "--map-root-user"].map(OsString::from));
    }
    unshare.push("--mount".into());
    let probe =
        unshare.split_first().map(|(first, rest)| Command::new(first).args(rest).arg("true").output());
    match probe {
        Some(Ok(output)) if output.status.success() => {}
        Some(Ok(output)) => {
            return Err(NotRunnable(format!("unshare: {}", String::from_utf8_lossy(&output.stderr).trim())));
        }
        Some(Err(error)) => return Err(NotRunnable(format!("unshare: {error}: apt-get install util-linux"))),
        None => return Err(NotRunnable("unshare".to_owned())),
    }
    let count = arguments.len();
    unshare.extend(["sh", "-ec"].map(OsString::from));
    unshare.push(format!("{script}\nshift {count}\nexec \"$@\"").into());
    unshare.push("sh".into());
    unshare.extend(arguments.iter().map(|argument| argument.as_os_str().to_owned()));
    Ok(unshare)
}

/// Why a fault cannot be injected on this machine or by this user.
#[derive(Debug)]
pub(crate) struct NotRunnable(pub(crate) String);

/// The library of Debian's package `faketime`, which changes the clock of the programs that load it.
pub(crate) fn libfaketime() -> Option<PathBuf> {
    let mut places: Vec<_> = vec![PathBuf::from("/usr/lib/faketime"), "/usr/lib64/faketime".into()];
    if let Ok(found) = fs::read_dir("/usr/lib") {
        places.extend(found.flatten().map(|entry| entry.path().join("faketime")));
    }
    places.into_iter().map(|place| place.join("libfaketime.so.1")).find(|library| library.is_file())
}

/// The resources of a process, from `/proc`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Holdings {
    /// Bytes.
    pub(crate) resident: u64,
    pub(crate) files: u64,
    pub(crate) sockets: u64,
    /// Sockets that are connected to the given port.
    pub(crate) to_port: u64,
    pub(crate) threads: u64,
}

/// Reads the resources of a process. A value that cannot be read is 0.
pub(crate) fn holdings(pid: u32, port: u16) -> Holdings {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let links: Vec<_> = open.map(|entry| fs::read_link(entry.path()).unwrap_or_default()).collect();
    let inode = |link: &PathBuf| -> Option<String> {
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned)
    };
    let sockets: Vec<_> = links.iter().filter_map(inode).collect();
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    // The third column ends in the remote port; the tenth is the socket's inode.
    let there = format!(":{port:04X}");
    let is_there = |line: &&str| {
        let columns: Vec<_> = line.split_whitespace().collect();
        let remote = columns.get(2).is_some_and(|remote| remote.ends_with(&there));
        remote && columns.get(9).is_some_and(|inode| sockets.iter().any(|socket| socket == inode))
    };
    Holdings {
        resident: field("VmRSS:") << 10,
        files: links.len() as u64,
        sockets: sockets.len() as u64,
        to_port: table.lines().filter(is_there).count() as u64,
        threads: field("Threads:"),
    }
}
