//! Ordinary containers, alone and in the pod of a component.

use testkit::wait::eventually;

use crate::{
    daemon::{NODE_SECRET, with_images},
    image::BUSYBOX,
    observe::{Events, environment, process_status},
    serving::serve,
};

const POD: &str = "io.kubernetes.cri.sandbox-id=pod1";

/// One shim serves the pod. Each container has its own environment and mounts, and nothing of the node's environment.
#[test]
fn a_sidecar_beside_a_component() {
    let daemon = with_images();
    let data = daemon.path("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("file"), "of the volume\n").unwrap();
    let mount = format!("type=bind,src={},dst=/data,options=rbind:ro", data.display());
    let (service, _) = serve(&daemon, "app", &["--annotation", POD, "--env", "ONLY=app"], &[]);
    let script = "echo \"$ONLY $(cat /data/file)\"; touch /data/new || echo read-only; exec sleep 1000";
    daemon.run(
        "side",
        &["--annotation", POD, "--env", "ONLY=side", "--mount", &mount, "--memory-limit", "33554432"],
        BUSYBOX,
        &["/bin/busybox", "sh", "-c", script],
    );
    service.wait_until_ok("/health");
    eventually("the sidecar's output", || {
        let output = daemon.output("side");
        (output.contains("side of the volume") && output.contains("read-only")).then_some(())
    });
    assert_eq!(daemon.shim("app"), daemon.shim("side"), "one shim serves the whole pod");

    let own = environment(daemon.pid("side"));
    assert!(own.contains(&"ONLY=side".to_owned()), "{own:?}");
    let foreign = |variable: &&String| {
        !["PATH=", "ONLY=", "HOSTNAME=", "SHLVL=", "PWD=", "HOME="]
            .iter()
            .any(|known| variable.starts_with(known))
    };
    assert_eq!(own.iter().find(foreign), None, "a variable from outside the container: {own:?}");
    let own = environment(daemon.pid("app"));
    assert!(own.contains(&"ONLY=app".to_owned()), "{own:?}");

    // The component goes on after the sidecar's exit.
    assert_eq!(daemon.end("side", "SIGKILL"), 137);
    service.wait_until_ok("/health");
    assert_eq!(daemon.end("app", "SIGTERM"), 0);
}

#[test]
fn the_node_s_environment_reaches_nobody() {
    let daemon = with_images();
    let (service, _) = serve(&daemon, "app", &["--annotation", POD], &[]);
    daemon.run("side", &["--annotation", POD], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    service.wait_until_ok("/health");
    for pid in [daemon.pid("app"), daemon.pid("side"), daemon.shim("app")] {
        let variables = environment(pid);
        assert!(!variables.contains(&NODE_SECRET.to_owned()), "{variables:?}");
    }
}

#[test]
fn an_oom_kill_is_reported() {
    let daemon = with_images();
    let events = daemon.events();
    let eat = "x=x; while true; do x=$x$x$x$x; done";
    daemon.run("a", &["--memory-limit", "16777216"], BUSYBOX, &["/bin/busybox", "sh", "-c", eat]);
    assert_eq!(daemon.delete("a"), 137);
    eventually("the event", || events.seen("/tasks/oom").then_some(()));
    assert_oom_before_exit(&events);
}

/// containerd's CRI calls a killed container "Error" instead of "OOMKilled" if it hears of the exit first.
#[track_caller]
fn assert_oom_before_exit(events: &Events) {
    eventually("the exit", || events.seen("/tasks/exit").then_some(()));
    let topics = events.topics();
    let position = |topic: &str| topics.iter().position(|seen| seen == topic);
    assert!(
        position("/tasks/oom") < position("/tasks/exit") && position("/tasks/oom").is_some(),
        "{topics:?}"
    );
}

/// As with systemd's cgroup driver, which removes a container's cgroup as soon as the last process has exited.
#[test]
fn an_oom_kill_is_reported_though_the_cgroup_goes_at_once() {
    let daemon = with_images();
    let events = daemon.events();
    let script = "until [ -e /go/now ]; do :; done; x=x; while true; do x=$x$x$x$x; done";
    let go = daemon.path("go");
    std::fs::create_dir(&go).unwrap();
    let mount = format!("type=bind,src={},dst=/go,options=rbind:ro", go.display());
    let flags = ["--memory-limit", "16777216", "--mount", &mount];
    daemon.run("a", &flags, BUSYBOX, &["/bin/busybox", "sh", "-c", script]);
    let cgroup = crate::statistics::cgroup(daemon.pid("a"), "memory");
    std::thread::scope(|scope| {
        // The kernel refuses to remove a cgroup with processes.
        let removed = scope.spawn(|| {
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
            while std::fs::remove_dir(&cgroup).is_err() && cgroup.exists() {
                assert!(std::time::Instant::now() < deadline, "the process in {} lives on", cgroup.display());
            }
        });
        std::fs::write(go.join("now"), "").unwrap();
        removed.join().unwrap();
    });
    assert_eq!(daemon.delete("a"), 137);
    assert_oom_before_exit(&events);
}

/// A kill is reported when it happens, not with the next request for statistics.
#[test]
fn an_oom_kill_of_another_process_is_reported_at_once() {
    let daemon = with_images();
    let events = daemon.events();
    let script = "sh -c 'x=x; while true; do x=$x$x$x$x; done'; echo killed; exec sleep 1000";
    daemon.run("a", &["--memory-limit", "16777216"], BUSYBOX, &["/bin/busybox", "sh", "-c", script]);
    eventually("the kill", || daemon.output("a").contains("killed").then_some(()));
    eventually("the event", || events.seen("/tasks/oom").then_some(()));
    assert!(!events.seen("/tasks/exit"));
    assert_eq!(daemon.end("a", "SIGKILL"), 137);
}

#[test]
fn events_are_published_in_order() {
    let daemon = with_images();
    let events = daemon.events();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "true"]);
    assert_eq!(daemon.delete("a"), 0);
    eventually("the last event", || events.seen("/tasks/delete").then_some(()));
    let topics: Vec<String> =
        events.topics().into_iter().filter(|topic| topic.starts_with("/tasks/")).collect();
    assert_eq!(topics, ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"]);
}

/// The shim reaps exec processes, whose parent `runc exec` has exited.
#[test]
fn no_zombies() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    for number in 0..5 {
        daemon.ctr(&["task", "exec", "--exec-id", &format!("e{number}"), "a", "/bin/busybox", "true"]);
    }
    let shim = daemon.shim("a").to_string();
    eventually("the shim has no zombie children", || {
        let processes = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let zombies = pids.filter(|pid| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let mut fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
            fields.next() == Some("Z") && fields.next() == Some(&shim)
        });
        (zombies.count() == 0).then_some(())
    });
    assert_eq!(process_status(daemon.pid("a"), "PPid:"), shim);
}
