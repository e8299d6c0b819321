//! Signals, exit statuses, pausing, and the end of the shim.

use testkit::{http::Request, wait::eventually};

use crate::{
    daemon::{RUNTIME, with_images},
    image::BUSYBOX,
    serving::serve,
};

#[test]
fn sigterm_drains_a_component() {
    let daemon = with_images();
    let (service, admin) = serve(&daemon, "a", &["--env", "WASI_HTTP_HOST_SHUTDOWN_GRACE=2s"], &[]);
    service.wait_until_ok("/health");
    admin.wait_until_ok("/ready");
    daemon.ctr(&["task", "kill", "--signal", "SIGTERM", "a"]);
    // During the grace period, the component is not ready and still serves requests.
    eventually("/ready returns 503", || {
        (admin.send(&Request::get("/ready")).ok()?.status == 503).then_some(())
    });
    assert_eq!(service.get("/health").status, 200);
    assert_eq!(daemon.delete("a"), 0);
}

#[test]
fn sigkill_kills_a_component() {
    let daemon = with_images();
    let (service, _) = serve(&daemon, "a", &[], &[]);
    service.wait_until_ok("/health");
    assert_eq!(daemon.end("a", "SIGKILL"), 128 + 9);
}

/// A container's process 1 ignores SIGTERM unless it has a handler (`pid_namespaces(7)`).
#[test]
fn a_process_that_ignores_sigterm_is_killed() {
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
fn exit_statuses_are_those_of_the_program() {
    let daemon = with_images();
    for status in [0, 1, 7, 255] {
        let id = format!("s{status}");
        daemon.run(&id, &[], BUSYBOX, &["/bin/busybox", "sh", "-c", &format!("exit {status}")]);
        assert_eq!(daemon.delete(&id), status);
    }
    // The host's exit status for wrong usage, not that of an OOM-killed process.
    let (_, _) =
        serve(&daemon, "usage", &["--env", "GITHUB_API_URL=not a url"], &["/spin.toml", "--threads", "0"]);
    assert_eq!(daemon.delete("usage"), 64, "{}", daemon.output("usage"));
}

#[test]
fn a_signal_to_an_exited_process_is_an_error() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "true"]);
    eventually("the task stops", || (daemon.task("a")?.1 == "STOPPED").then_some(()));
    let error = daemon.refused(&["task", "kill", "--signal", "SIGTERM", "a"]);
    assert!(error.contains("has ended"), "{error}");
    assert_eq!(daemon.delete("a"), 0);
}

#[test]
fn pause_and_resume() {
    let daemon = with_images();
    let (service, _) = serve(&daemon, "a", &[], &[]);
    service.wait_until_ok("/health");
    daemon.ctr(&["task", "pause", "a"]);
    assert_eq!(daemon.task("a").unwrap().1, "PAUSED");
    daemon.ctr(&["task", "resume", "a"]);
    assert_eq!(daemon.task("a").unwrap().1, "RUNNING");
    service.wait_until_ok("/health");
    assert_eq!(daemon.end("a", "SIGTERM"), 0);
}

/// A frozen process receives no signal: the shim must resume the container after a kill.
#[test]
fn a_paused_container_can_be_killed() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    daemon.ctr(&["task", "pause", "a"]);
    assert_eq!(daemon.end("a", "SIGKILL"), 137);
}

#[test]
fn a_failed_creation_leaves_nothing_behind() {
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
    // The id can be used again.
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "true"]);
    assert_eq!(daemon.delete("a"), 0);
}

/// The shim exits after the last container of its pod was deleted.
#[test]
fn the_shim_exits_after_its_last_container() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let shim = daemon.shim("a");
    assert_eq!(daemon.end("a", "SIGKILL"), 137);
    eventually("the shim exits", || (!std::path::Path::new(&format!("/proc/{shim}")).exists()).then_some(()));
}

/// When containerd has deleted a container, its client may create the next one with the same name: the shim that ends must
/// neither be found any more nor remove the next shim's socket.
#[test]
fn a_shim_that_ends_is_not_found_by_the_next_container_of_its_name() {
    let daemon = with_images();
    for _ in 0..5 {
        daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
        let socket = crate::rpc::socket(&daemon, "a");
        assert!(socket.exists());
        assert_eq!(daemon.end("a", "SIGKILL"), 137);
        assert!(!socket.exists(), "the socket of a shim that ends");
    }
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    assert_eq!(daemon.end("a", "SIGKILL"), 137);
}

/// After a shim was killed, containerd calls the shim's `delete` action, which removes the container.
#[test]
fn a_killed_shim_leaves_no_container_behind() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let (pid, shim) = (daemon.pid("a"), daemon.shim("a"));
    let shim = rustix::process::Pid::from_raw(i32::try_from(shim).unwrap()).unwrap();
    rustix::process::kill_process(shim, rustix::process::Signal::KILL).unwrap();
    eventually("the container's process exits", || {
        let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let zombie = state.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'));
        (state.is_empty() || zombie).then_some(())
    });
    eventually("the task stops or is gone", || {
        daemon.task("a").is_none_or(|(_, state)| state == "STOPPED").then_some(())
    });
}
