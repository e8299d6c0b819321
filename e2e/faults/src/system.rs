//! What is asked of the operating system: signals, limits, namespaces, and a process's own figures.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};

/// Sends a signal.
///
/// # Errors
/// When the process is not there.
pub(crate) fn signal(pid: u32, signal: Signal) -> Result<(), String> {
    let pid = Pid::from_raw(i32::try_from(pid).map_err(|error| error.to_string())?);
    kill(pid, signal).map_err(|error| format!("{signal} to {pid}: {error}"))
}

/// Changes how many files a running process may open.
///
/// # Errors
/// When `prlimit` cannot.
pub(crate) fn limit_open_files(pid: u32, limit: u64) -> Result<(), String> {
    let words = [format!("--pid={pid}"), format!("--nofile={limit}:")];
    let status = Command::new("prlimit").args(words).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("prlimit: {status}")),
        Err(error) => Err(format!("prlimit: {error}: apt-get install util-linux")),
    }
}

/// A command that mounts what `script` says, seen by nobody else, and becomes the host: no rights are needed where users
/// may have namespaces of their own. The script's `$1` and on are `arguments`.
///
/// # Errors
/// When the kernel does not let us.
pub(crate) fn with_mounts(script: &str, arguments: &[&Path]) -> Result<Vec<OsString>, NotHere> {
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
            return Err(NotHere(format!("unshare: {}", String::from_utf8_lossy(&output.stderr).trim())));
        }
        Some(Err(error)) => return Err(NotHere(format!("unshare: {error}: apt-get install util-linux"))),
        None => return Err(NotHere("unshare".to_owned())),
    }
    let count = arguments.len();
    unshare.extend(["sh", "-ec"].map(OsString::from));
    unshare.push(format!("{script}\nshift {count}\nexec \"$@\"").into());
    unshare.push("sh".into());
    unshare.extend(arguments.iter().map(|argument| argument.as_os_str().to_owned()));
    Ok(unshare)
}

/// A fault that this machine, or this user, cannot bring about, and why.
#[derive(Debug)]
pub(crate) struct NotHere(pub(crate) String);

/// Debian's libfaketime, which tells the programs that load it another time.
pub(crate) fn libfaketime() -> Option<PathBuf> {
    let mut places: Vec<_> = vec![PathBuf::from("/usr/lib/faketime"), "/usr/lib64/faketime".into()];
    if let Ok(found) = fs::read_dir("/usr/lib") {
        places.extend(found.flatten().map(|entry| entry.path().join("faketime")));
    }
    places.into_iter().map(|place| place.join("libfaketime.so.1")).find(|library| library.is_file())
}

/// What a process holds, as the kernel tells it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Holdings {
    /// Bytes.
    pub(crate) resident: u64,
    pub(crate) files: u64,
    pub(crate) sockets: u64,
    /// Those of the sockets that are connected to the port asked for.
    pub(crate) to_port: u64,
    pub(crate) threads: u64,
}

/// Looks, at connections to `port` in particular; what cannot be read is 0.
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
    // The third column ends in the other side's port, the tenth is the socket.
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
