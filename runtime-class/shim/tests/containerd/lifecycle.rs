//! Signals, exit statuses, pausing.

use crate::{
    daemon::{RUNTIME, eventually, with_images},
    http::{get, try_get},
    image::BUSYBOX,
    serving::serve,
};

#[test]
fn sigterm_ends_a_component_in_order() {
    let daemon = with_images();
    let (port, admin) = serve(&daemon, "a", &["--env", "WASI_HTTP_HOST_SHUTDOWN_GRACE=2s"], &[]);
    get(port, "/health");
    get(admin, "/ready");
    daemon.ctr(&["task", "kill", "--signal", "SIGTERM", "a"]);
    // During the grace period it says that it goes, and still answers.
    eventually("/ready says no", || (try_get(admin, "/ready")?.0 == 503).then_some(()));
    assert_eq!(try_get(port, "/health").map(|answer| answer.0), Some(200));
    assert_eq!(daemon.removed("a"), 0);
}

#[test]
fn sigkill_ends_anything() {
    let daemon = with_images();
    let (port, _) = serve(&daemon, "a", &[], &[]);
    get(port, "/health");
    assert_eq!(daemon.end("a", "SIGKILL"), 128 + 9);
}

/// As the first process of its container, a program that does not handle SIGTERM ignores it.
#[test]
fn what_ignores_sigterm_is_killed() {
    let daemon = with_images();
    daemon.run(
        "a",
        &[],
        BUSYBOX,
        &["/bin/busybox", "sh", "-c", "trap '' TERM; echo up; while true; do sleep 1; done"],
    );
    eventually("the loop", || daemon.output("a").contains("up").then_some(()));
    daemon.ctr(&["task", "kill", "--signal", "SIGTERM", "a"]);
    assert_eq!(daemon.task("a").unwrap().1, "RUNNING");
    assert_eq!(daemon.end("a", "SIGKILL"), 137);
}

#[test]
fn exit_statuses_are_the_program_s_own() {
    let daemon = with_images();
    for status in [0, 1, 7, 255] {
        let id = format!("s{status}");
        daemon.run(&id, &[], BUSYBOX, &["/bin/busybox", "sh", "-c", &format!("exit {status}")]);
        assert_eq!(daemon.removed(&id), status);
    }
    // The host's status for wrong usage, and not that of a process killed for want of memory.
    let (_, _) =
        serve(&daemon, "usage", &["--env", "GITHUB_API_URL=not a url"], &["/spin.toml", "--threads", "0"]);
    assert_eq!(daemon.removed("usage"), 64, "{}", daemon.output("usage"));
}

#[test]
fn a_signal_to_what_has_ended_says_so() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "true"]);
    eventually("its end", || (daemon.task("a")?.1 == "STOPPED").then_some(()));
    let error = daemon.refused(&["task", "kill", "--signal", "SIGTERM", "a"]);
    assert!(error.contains("has ended"), "{error}");
    assert_eq!(daemon.removed("a"), 0);
}

#[test]
fn pause_and_resume() {
    let daemon = with_images();
    let (port, _) = serve(&daemon, "a", &[], &[]);
    get(port, "/health");
    daemon.ctr(&["task", "pause", "a"]);
    assert_eq!(daemon.task("a").unwrap().1, "PAUSED");
    daemon.ctr(&["task", "resume", "a"]);
    assert_eq!(daemon.task("a").unwrap().1, "RUNNING");
    get(port, "/health");
    assert_eq!(daemon.end("a", "SIGTERM"), 0);
}

/// A frozen process takes no signal: a kill must thaw it.
#[test]
fn a_paused_container_can_be_killed() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    daemon.ctr(&["task", "pause", "a"]);
    assert_eq!(daemon.end("a", "SIGKILL"), 137);
}

#[test]
fn a_container_that_cannot_be_made_leaves_nothing() {
    let daemon = with_images();
    daemon.remember("a");
    let error = daemon.refused(&["run", "--detach", "--runtime", RUNTIME, BUSYBOX, "a", "/bin/absent"]);
    assert!(error.contains("/bin/absent"), "{error}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let state = daemon.path("state").to_string_lossy().into_owned();
    let left: Vec<&str> =
        mounts.lines().filter(|line| line.contains(&state) && line.contains("rootfs")).collect();
    assert!(left.is_empty(), "{left:?}");
    daemon.ctr(&["container", "delete", "a"]);
    // The name is free again.
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "true"]);
    assert_eq!(daemon.removed("a"), 0);
}

/// With nothing left to serve, the shim ends and removes its socket.
#[test]
fn the_shim_ends_with_its_last_container() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let shim = daemon.shim("a");
    assert_eq!(daemon.end("a", "SIGKILL"), 137);
    eventually("the shim's end", || (!std::path::Path::new(&format!("/proc/{shim}")).exists()).then_some(()));
}

/// A shim that was killed: containerd cleans up with its `delete`, and nothing of the container is left.
#[test]
fn the_shim_s_death_leaves_nothing() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let (pid, shim) = (daemon.pid("a"), daemon.shim("a"));
    let shim = rustix::process::Pid::from_raw(i32::try_from(shim).unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    eventually("its container's end", || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let zombie = state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
        (state.is_empty() || zombie).then_some(())
    });
    eventually("the task's end", || {
        daemon.task("a").is_none_or(|(_, state)| state == "STOPPED").then_some(())
    });
}
