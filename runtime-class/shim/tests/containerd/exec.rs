//! Exec processes: processes that are added to a running container.

use std::{
    io::{Read as _, Write as _},
    process::Stdio,
};

use testkit::wait::eventually;

use crate::{daemon::with_images, image::BUSYBOX, observe::environment};

#[test]
fn output_and_status() {
    let daemon = with_images();
    daemon.run("a", &["--env", "ONLY=a"], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let script = "echo out $ONLY; echo err >&2; exit 9";
    let output = daemon.try_ctr(&["task", "exec", "--exec-id", "e", "a", "/bin/busybox", "sh", "-c", script]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "out a\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("err"));
    assert_eq!(output.status.code(), Some(9));
    // The exec id can be used again.
    assert_eq!(
        daemon.ctr(&["task", "exec", "--exec-id", "e", "a", "/bin/busybox", "echo", "again"]),
        "again\n"
    );
}

/// Real-time signals have no names. Systemd in a container is stopped by one.
#[test]
fn a_process_that_a_real_time_signal_kills() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let mut command =
        daemon.command(&["task", "exec", "--exec-id", "e", "a", "/bin/busybox", "sh", "-c", "kill -37 $$"]);
    let mut process = command.stdin(Stdio::null()).spawn().unwrap();
    let status = eventually("the exit", || process.try_wait().unwrap());
    assert_eq!(status.code(), Some(128 + 37));
}

#[test]
fn no_output_is_lost_at_an_early_exit() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    for number in 0..5 {
        let id = format!("e{number}");
        let script = "i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done";
        let output = daemon.ctr(&["task", "exec", "--exec-id", &id, "a", "/bin/busybox", "sh", "-c", script]);
        assert_eq!(output.lines().count(), 20_000);
        assert_eq!(output.lines().last(), Some("19999"));
    }
}

#[test]
fn input_until_its_end() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let mut command = daemon.command(&["task", "exec", "--exec-id", "e", "a", "/bin/busybox", "wc", "-c"]);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = process.stdin.take().unwrap();
    input.write_all(&vec![b'x'; 300_000]).unwrap();
    drop(input);
    let mut output = String::new();
    process.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert_eq!(output.trim(), "300000");
    assert!(process.wait().unwrap().success());
}

#[test]
fn a_terminal() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    // `ctr` needs a terminal itself: `script` provides one.
    let ctr = daemon.command(&[
        "task",
        "exec",
        "--tty",
        "--exec-id",
        "e",
        "a",
        "/bin/busybox",
        "sh",
        "-c",
        "tty; exit 4",
    ]);
    let line: Vec<String> = std::iter::once(ctr.get_program())
        .chain(ctr.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let output = std::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("/dev/pts/"), "{output:?}");
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn processes_are_listed_and_have_the_containers_environment() {
    let daemon = with_images();
    daemon.run("a", &["--env", "ONLY=a"], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let mut command =
        daemon.command(&["task", "exec", "--exec-id", "e", "a", "/bin/busybox", "sleep", "1000"]);
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    let added = eventually("two processes", || {
        let list = daemon.ctr(&["task", "ps", "a"]);
        let pids: Vec<u32> =
            list.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect();
        assert!(pids.contains(&daemon.pid("a")), "{list}");
        let added = pids.iter().copied().find(|pid| *pid != daemon.pid("a"))?;
        // `runc exec` is in the cgroup for a moment too.
        let program = std::fs::read_to_string(format!("/proc/{added}/cmdline")).unwrap_or_default();
        (program.contains("sleep") && list.contains('e')).then_some(added)
    });
    let own = environment(added);
    assert!(own.contains(&"ONLY=a".to_owned()), "{own:?}");
    assert!(own.iter().all(|variable| !variable.starts_with("NODE_SECRET")), "{own:?}");
    assert_eq!(daemon.end("a", "SIGKILL"), 137);
    // The exec process was killed with the container.
    assert_eq!(process.wait().unwrap().code(), Some(137));
}

#[test]
fn an_error_names_the_missing_program() {
    let daemon = with_images();
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let error = daemon.refused(&["task", "exec", "--exec-id", "e", "a", "/bin/absent"]);
    assert!(error.contains("/bin/absent"), "{error}");
    assert_eq!(daemon.task("a").unwrap().1, "RUNNING");
}
