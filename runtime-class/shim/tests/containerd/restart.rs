//! A restart of containerd: running containers go on.

use std::process::Stdio;

use testkit::wait::eventually;

use crate::{
    daemon::{RUNTIME, with_images},
    image::BUSYBOX,
    serving::serve,
};

#[test]
fn a_pod_survives_a_restart_of_containerd() {
    let mut daemon = with_images();
    let pod = "io.kubernetes.cri.sandbox-id=pod1";
    let (service, _) = serve(&daemon, "app", &["--annotation", pod], &[]);
    daemon.run("side", &["--annotation", pod], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    service.wait_until_ok("/health");
    let before = (daemon.pid("app"), daemon.pid("side"), daemon.shim("app"));

    daemon.stop();
    service.wait_until_ok("/health");
    daemon.start_again();

    assert_eq!((daemon.pid("app"), daemon.pid("side"), daemon.shim("app")), before);
    assert_eq!(daemon.task("app").unwrap().1, "RUNNING");
    service.wait_until_ok("/health");
    assert!(daemon.ctr(&["task", "metrics", "app"]).contains("usage"));
    assert_eq!(
        daemon.ctr(&["task", "exec", "--exec-id", "e", "side", "/bin/busybox", "echo", "here"]),
        "here\n"
    );
    // The same shim serves new containers of the pod.
    daemon.run("late", &["--annotation", pod], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    assert_eq!(daemon.shim("late"), before.2);
    assert_eq!(daemon.end("app", "SIGTERM"), 0);
    assert_eq!(daemon.end("side", "SIGKILL"), 137);
}

/// The installer replaces both programs while pods run, and restarts nothing.
#[test]
fn a_container_that_restarts_in_an_old_pod_after_an_upgrade_of_the_shim() {
    let daemon = with_images();
    let pod = "io.kubernetes.cri.sandbox-id=pod1";
    let (service, _) = serve(&daemon, "app", &["--annotation", pod], &[]);
    daemon.run("side", &["--annotation", pod], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    service.wait_until_ok("/health");
    let (app, shim) = (daemon.pid("app"), daemon.shim("app"));
    daemon.replace_programs();
    let program = |pid: u32| std::fs::read_link(format!("/proc/{pid}/exe")).unwrap().display().to_string();
    assert!(program(shim).ends_with("containerd-shim-wasi-http-v1 (deleted)"), "{}", program(shim));
    service.wait_until_ok("/health");
    assert_eq!(daemon.pid("app"), app, "the running pod goes on");

    // The container ends, and the kubelet makes it again in the same pod: the old shim starts the new host.
    assert_eq!(daemon.end("app", "SIGKILL"), 137);
    let (again, _) = serve(&daemon, "app", &["--annotation", pod], &[]);
    again.wait_until_ok("/health");
    assert_eq!(daemon.shim("app"), shim);
    assert!(!program(daemon.pid("app")).contains("deleted"), "{}", program(daemon.pid("app")));
    assert_eq!(
        daemon.ctr(&["task", "exec", "--exec-id", "e", "side", "/bin/busybox", "echo", "here"]),
        "here\n"
    );

    // A new pod has the new shim.
    let (other, _) = serve(&daemon, "new", &["--annotation", "io.kubernetes.cri.sandbox-id=pod2"], &[]);
    other.wait_until_ok("/health");
    assert!(!program(daemon.shim("new")).contains("deleted"), "{}", program(daemon.shim("new")));
    assert_eq!(daemon.end("app", "SIGTERM"), 0);
    assert_eq!(daemon.end("new", "SIGTERM"), 0);
    assert_eq!(daemon.end("side", "SIGKILL"), 137);
}

#[test]
fn an_exit_during_the_restart_is_reported_afterwards() {
    let mut daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sh", "-c", "sleep 2; exit 5"]);
    let pid = daemon.pid("a");
    daemon.stop();
    eventually("the process exits", || {
        (!std::path::Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
    daemon.start_again();
    assert_eq!(daemon.delete("a"), 5);
}

/// The container goes on when the reader of its output exits, and the next reader gets the further output.
#[test]
fn output_flows_to_the_next_reader() {
    let mut daemon = with_images();
    let script = "i=0; while true; do echo line $i; i=$((i+1)); sleep 0.2; done";
    daemon.remember("a");
    let mut reader = daemon
        .command(&["run", "--runtime", RUNTIME, BUSYBOX, "a", "/bin/busybox", "sh", "-c", script])
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(daemon.path("first.txt")).unwrap())
        .spawn()
        .unwrap();
    let lines = |file: &str| std::fs::read_to_string(daemon.path(file)).unwrap_or_default().lines().count();
    eventually("output", || (lines("first.txt") > 2).then_some(()));
    let pid = daemon.pid("a");
    reader.kill().unwrap();
    reader.wait().unwrap();
    daemon.stop();
    daemon.start_again();
    let output = std::fs::File::create(daemon.path("second.txt")).unwrap();
    let mut second =
        daemon.command(&["task", "attach", "a"]).stdin(Stdio::null()).stdout(output).spawn().unwrap();
    let read = |file: &str| std::fs::read_to_string(daemon.path(file)).unwrap_or_default();
    eventually("more output", || (read("second.txt").lines().count() > 5).then_some(()));
    assert_eq!(daemon.pid("a"), pid);
    let _ = second.kill();
    let _ = second.wait();
}
