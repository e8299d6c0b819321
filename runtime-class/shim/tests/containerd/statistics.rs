//! A container's statistics, as the shim reports them to containerd. Autoscalers use them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use testkit::wait::eventually;

use crate::{
    daemon::{Daemon, with_images},
    image::BUSYBOX,
    serving::serve,
};

const LIMIT: u64 = 64 << 20;

/// The value of the first of `names` in the table that `ctr task metrics` prints.
fn metric(daemon: &Daemon, id: &str, names: &[&str]) -> u64 {
    let table = daemon.ctr(&["task", "metrics", id]);
    let row = table.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        names.contains(&name).then(|| words.next()?.parse().ok())?
    });
    row.unwrap_or_else(|| panic!("none of {names:?} in\n{table}"))
}

/// CPU time in nanoseconds.
fn cpu(daemon: &Daemon, id: &str) -> u64 {
    let is_v2 = daemon.ctr(&["task", "metrics", id]).contains("usage_usec");
    metric(daemon, id, &["cpuacct.usage", "cpu.usage_usec", "usage_usec"]) * if is_v2 { 1000 } else { 1 }
}

fn memory(daemon: &Daemon, id: &str) -> u64 {
    metric(daemon, id, &["memory.usage_in_bytes", "memory.usage"])
}

/// Directory of a process's cgroup. With version 1, of the cgroup in the hierarchy of `controller`.
pub(crate) fn cgroup(pid: u32, controller: &str) -> PathBuf {
    let member = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let path = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let found = fields.next()?.split(',').any(|name| name == controller);
        found.then(|| fields.next().map(|path| path.trim_start_matches('/').to_owned()))?
    };
    let v1 = member.lines().find_map(path);
    match &v1 {
        Some(path) => Path::new("/sys/fs/cgroup").join(controller).join(path),
        None => Path::new("/sys/fs/cgroup").join(member.trim().trim_start_matches("0::/")),
    }
}

/// Content of a file in a process's cgroup.
fn kernel(pid: u32, controller: &str, file: &str) -> String {
    let path = cgroup(pid, controller).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// CPU time in nanoseconds, from the kernel's files.
fn kernel_cpu(pid: u32) -> u64 {
    if Path::new("/sys/fs/cgroup/cpuacct").exists() {
        return kernel(pid, "cpuacct", "cpuacct.usage").trim().parse().unwrap();
    }
    let stat = kernel(pid, "", "cpu.stat");
    let usage = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
    usage.parse::<u64>().unwrap() * 1000
}

#[test]
fn processor_time_agrees_with_the_kernel() {
    let daemon = with_images();
    let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo done; exec sleep 1000";
    daemon.run("a", &[], BUSYBOX, &["/bin/busybox", "sh", "-c", busy]);
    eventually("the work is done", || daemon.output("a").contains("done").then_some(()));
    let pid = daemon.pid("a");
    // The kernel updates its counters late. Compare only if the counter did not change during the shim's reading.
    let (reported, kernel) = eventually("two equal readings of the kernel's counter", || {
        let before = kernel_cpu(pid);
        let reported = cpu(&daemon, "a");
        (kernel_cpu(pid) == before).then_some((reported, before))
    });
    assert_eq!(reported, kernel);
    assert!(reported > 10_000_000, "{reported} ns for 300,000 iterations");
}

#[test]
fn memory_and_its_limit() {
    let daemon = with_images();
    let limit = LIMIT.to_string();
    let (service, _) = serve(&daemon, "a", &["--memory-limit", &limit], &[]);
    service.wait_until_ok("/health");
    let reported = metric(&daemon, "a", &["memory.limit_in_bytes", "memory.usage_limit"]);
    assert_eq!(reported, LIMIT);
    let used = memory(&daemon, "a");
    assert!(used > 1 << 20 && used < LIMIT, "{used}");
    println!("memory of a component's container: {used} bytes");
}

/// Each container of a pod has its own statistics.
#[test]
fn containers_of_a_pod_have_separate_statistics() {
    let daemon = with_images();
    let pod = "io.kubernetes.cri.sandbox-id=pod1";
    daemon.run("idle", &["--annotation", pod], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let busy = "while true; do :; done";
    daemon.run("busy", &["--annotation", pod], BUSYBOX, &["/bin/busybox", "sh", "-c", busy]);
    eventually("one second of CPU time", || (cpu(&daemon, "busy") > 1_000_000_000).then_some(()));
    let idle = cpu(&daemon, "idle");
    assert!(idle < 500_000_000, "{idle}");
    assert_eq!(metric(&daemon, "idle", &["pids.current"]), 1);
}

/// Limits can be changed while the container runs, as for an in-place resize of a pod.
#[test]
fn a_limit_is_changed() {
    use containerd_shim_protos::{
        api::UpdateTaskRequest, protobuf::well_known_types::any::Any, ttrpc::context,
    };
    let daemon = with_images();
    daemon.run("a", &["--memory-limit", &LIMIT.to_string()], BUSYBOX, &["/bin/busybox", "sleep", "1000"]);
    let mut request = UpdateTaskRequest::new();
    request.set_id("a".to_owned());
    request.set_resources(Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".to_owned(),
        value: format!("{{\"memory\":{{\"limit\":{}}}}}", 2 * LIMIT).into_bytes(),
        ..Any::default()
    });
    crate::rpc::client(&daemon, "a").update(context::with_timeout(30_000_000_000), &request).unwrap();
    assert_eq!(metric(&daemon, "a", &["memory.limit_in_bytes", "memory.usage_limit"]), 2 * LIMIT);
}
