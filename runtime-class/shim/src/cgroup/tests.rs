//! Tests against `fixtures`. The files of version 1 were captured from a container of `runc`. The files of version 2
//! follow the kernel's documentation, because no node with version 2 was available.

use std::path::Path;

use containerd_shim_protos::{
    cgroups::metrics::Metrics as MetricsV1, cgroups_v2::metrics::Metrics as MetricsV2, protobuf::Message,
};

use super::*;

/// A node with version 1. containerd and `runc` also put the container into the unified hierarchy.
const MOUNTS_V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
const MEMBER_V1: &str = "\
9:name=systemd:/k8s.io/pod/c
8:pids:/k8s.io/pod/c
4:memory:/k8s.io/pod/c
2:cpu,cpuacct:/k8s.io/pod/c
0::/k8s.io/pod/c
";
const MOUNTS_V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

fn fixtures(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cgroup/fixtures").join(version)
}

fn v1() -> Cgroup {
    let names = ["cpu", "cpuacct", "memory", "pids", "blkio"];
    let mounts: String = names
        .iter()
        .map(|name| format!("1 1 0:1 / {}/{name} rw - cgroup cgroup rw,{name}\n", fixtures("v1").display()))
        .collect();
    let member: String = names.iter().map(|name| format!("1:{name}:/\n")).collect();
    Cgroup::locate(&member, &mounts).unwrap()
}

#[test]
fn version_1_is_found_by_controller() {
    let Some(Cgroup::V1(directories)) = Cgroup::locate(MEMBER_V1, MOUNTS_V1) else { panic!("not version 1") };
    assert_eq!(directories.with_processes(), Some(Path::new("/sys/fs/cgroup/pids/k8s.io/pod/c")));
    let text = format!("{directories:?}");
    for path in ["/sys/fs/cgroup/memory/k8s.io/pod/c", "/sys/fs/cgroup/cpu,cpuacct/k8s.io/pod/c"] {
        assert!(text.contains(path), "{text}");
    }
}

#[test]
fn version_2_is_found() {
    let member = "0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-c.scope\n";
    let want = "/sys/fs/cgroup/kubepods.slice/kubepods-pod1.slice/cri-containerd-c.scope";
    assert_eq!(Cgroup::locate(member, MOUNTS_V2), Some(Cgroup::V2(PathBuf::from(want))));
}

/// As in kind: the mount shows a child of the root cgroup, and `/proc/PID/cgroup` has paths from the root.
#[test]
fn a_node_that_is_a_container_itself() {
    let mounts = "30 23 0:26 /docker/node /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
    let found = Cgroup::locate("0::/docker/node/kubelet/pod/c\n", mounts);
    assert_eq!(found, Some(Cgroup::V2(PathBuf::from("/sys/fs/cgroup/kubelet/pod/c"))));
}

#[test]
fn no_cgroup_is_none() {
    assert_eq!(Cgroup::locate("", ""), None);
    assert_eq!(Cgroup::locate("0::/x\n", ""), None);
}

#[test]
fn metrics_of_version_1() {
    let any = v1().metrics().unwrap();
    assert_eq!(any.type_url, "io.containerd.cgroups.v1.Metrics");
    let metrics = MetricsV1::parse_from_bytes(&any.value).unwrap();
    let usage = &metrics.cpu.usage;
    assert_eq!(
        (usage.total, usage.user, usage.kernel),
        (257_232_521, 190_000_000, 60_000_000),
        "nanoseconds"
    );
    assert_eq!(usage.per_cpu, [134_783_543, 122_448_978]);
    assert_eq!(metrics.cpu.throttling.periods, 13);
    let memory = &metrics.memory;
    assert_eq!(
        (memory.usage.usage, memory.usage.limit, memory.usage.max),
        (13_266_944, 67_108_864, 14_868_480)
    );
    assert_eq!(memory.total_inactive_file, 12_582_912, "the kubelet subtracts it to get the working set");
    assert_eq!((memory.total_rss, memory.rss, memory.cache), (49_152, 49_152, 12_615_680));
    assert_eq!((memory.pg_fault, memory.pg_maj_fault), (1035, 1));
    assert_eq!(memory.swap.usage, 13_266_944);
    assert_eq!(memory.kernel.usage, 602_112);
    assert_eq!((metrics.pids.current, metrics.pids.limit), (1, 0));
    assert_eq!(v1().oom_kills(), Some(0));
}

#[test]
fn metrics_of_version_2() {
    let cgroup = Cgroup::V2(fixtures("v2"));
    let any = cgroup.metrics().unwrap();
    assert_eq!(any.type_url, "io.containerd.cgroups.v2.Metrics");
    let metrics = MetricsV2::parse_from_bytes(&any.value).unwrap();
    let cpu = &metrics.cpu;
    assert_eq!((cpu.usage_usec, cpu.user_usec, cpu.system_usec), (257_232, 190_112, 67_120), "microseconds");
    assert_eq!((cpu.nr_periods, cpu.nr_throttled, cpu.throttled_usec), (13, 4, 91_822));
    assert_eq!((cpu.nr_bursts, cpu.burst_usec), (1, 700));
    assert_eq!(cpu.psi.some.total, 123_456);
    assert!((cpu.psi.some.avg10 - 1.25).abs() < f64::EPSILON);
    let memory = &metrics.memory;
    assert_eq!((memory.usage, memory.usage_limit, memory.max_usage), (13_266_944, 67_108_864, 14_868_480));
    assert_eq!((memory.inactive_file, memory.anon, memory.file), (12_582_912, 49_152, 12_615_680));
    assert_eq!((memory.swap_usage, memory.swap_limit), (0, u64::MAX));
    assert_eq!((memory.workingset_refault, memory.workingset_activate), (5, 1));
    assert_eq!((metrics.memory_events.oom_kill, metrics.memory_events.high), (1, 5));
    assert_eq!((metrics.pids.current, metrics.pids.limit), (3, 100));
    let io = metrics.io.usage.first().unwrap();
    assert_eq!(
        (io.major, io.minor, io.rbytes, io.wbytes, io.rios, io.wios),
        (254, 0, 4096, 12_582_912, 1, 24)
    );
    assert_eq!(cgroup.oom_kills(), Some(1));
}

#[test]
fn processes_of_child_cgroups_count() {
    assert_eq!(Cgroup::V2(fixtures("v2")).processes().into_iter().collect::<Vec<_>>(), [40, 41, 42]);
    assert_eq!(v1().processes().len(), 1);
}

/// A cgroup that was removed, or a kernel without some files, is no error.
#[test]
fn what_is_missing_is_zero() {
    let cgroup = Cgroup::V2(PathBuf::from("/nowhere"));
    let metrics = MetricsV2::parse_from_bytes(&cgroup.metrics().unwrap().value).unwrap();
    assert_eq!((metrics.cpu.usage_usec, metrics.memory.usage), (0, 0));
    assert!(metrics.cpu.psi.is_none());
    assert!(cgroup.processes().is_empty());
    assert_eq!((cgroup.oom_kills(), cgroup.parent_oom_kills()), (None, None));
}
