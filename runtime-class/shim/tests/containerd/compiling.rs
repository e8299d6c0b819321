//! The compiler's sandbox, observed while a component is compiled.

use std::{fs, path::Path, process::Stdio};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use testkit::wait::eventually;

use crate::{
    daemon::{Daemon, RUNTIME, with_images},
    image::GISTS,
    observe::process_status,
};

/// The pid of the compiler that runs for `daemon`.
fn compiler(daemon: &Daemon) -> Option<u32> {
    let directory =
        daemon.path("cache").parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        // Other tests compile at the same time: the cache of this daemon is mounted.
        line.starts_with(b"/.wasi-http/wasi-http-host\0compile\0") && mounts.contains(&directory)
    })
}

fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
}

/// A compiler sees the component only, is a user of its own within limits, and ends with its shim.
#[test]
fn a_compiler_is_confined_and_does_not_outlive_its_shim() {
    let daemon = with_images();
    daemon.remember("a");
    let mut start = daemon.command(&["run", "--detach", "--runtime", RUNTIME, "--null-io", GISTS, "a"]);
    let mut start = start.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = eventually("a compiler runs", || compiler(&daemon));
    // So that the compiler does not end meanwhile.
    signal(pid, Signal::SIGSTOP);

    let user: u32 = process_status(pid, "Uid:").split('\t').next().unwrap().parse().unwrap();
    assert!((64_996..=64_999).contains(&user), "{user}");
    assert_eq!(process_status(pid, "NSpid:").split('\t').nth(1), Some("1"), "a PID namespace of its own");
    assert_eq!(process_status(pid, "NoNewPrivs:"), "1");
    assert_eq!(process_status(pid, "Seccomp:"), "2", "its system calls are filtered");
    let root: Vec<_> =
        fs::read_dir(format!("/proc/{pid}/root")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(root, [".wasi-http"], "nothing of the image");
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let own = format!("wasi-http-compile-{}", user - 64_996);
    assert!(groups.lines().any(|line| line.ends_with(&own)), "{groups}");
    let tasks =
        ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|root| Path::new(root).join(&own).join("pids.max"));
    let tasks = tasks.iter().find_map(|file| fs::read_to_string(file).ok()).expect("pids.max of the cgroup");
    assert_eq!(tasks.trim(), "1024");
    // The kernel counts this limit for all processes of a user, and a pod may run as the compiler's user.
    let of_user = |pid: u32| {
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        limits.lines().find(|line| line.starts_with("Max processes")).unwrap().to_owned()
    };
    assert_eq!(of_user(pid), of_user(std::process::id()), "a limit for the user");

    let parent = |pid: u32| process_status(pid, "PPid:").parse::<u32>().unwrap();
    signal(parent(parent(pid)), Signal::SIGKILL);
    eventually("the compiler ends", || (!Path::new(&format!("/proc/{pid}")).exists()).then_some(()));
    assert!(!start.wait().unwrap().success());
}
