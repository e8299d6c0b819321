//! Cgroup version 1: a hierarchy for each controller. Times are in nanoseconds, except in `cpuacct.stat`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use containerd_shim_protos::cgroups::metrics::{
    BlkIOEntry, BlkIOStat, CPUStat, CPUUsage, HugetlbStat, MemoryEntry, MemoryOomControl, MemoryStat,
    Metrics, PidsStat, Throttle,
};

use super::{
    files::{FlatKeyed, number, numbers},
    mountinfo::MountInfo,
};

/// Unit of `cpuacct.stat`: `USER_HZ` is 100 on all architectures that containerd supports.
const NANOSECONDS_PER_TICK: u64 = 10_000_000;

/// One cgroup's directory in the hierarchy of each controller.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directories(BTreeMap<String, PathBuf>);

impl Directories {
    /// Finds the directories from the text of `/proc/PID/cgroup` (`cgroups(7)`) and the mounts.
    pub(super) fn locate(membership: &str, mounts: &[MountInfo<'_>]) -> Self {
        let mut found = BTreeMap::new();
        for line in membership.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            for controller in controllers.split(',').filter(|name| !name.is_empty() && !name.contains('=')) {
                let mount = mounts.iter().find(|mount| {
                    mount.kind == "cgroup" && mount.options.split(',').any(|option| option == controller)
                });
                if let Some(mount) = mount {
                    found.insert(controller.to_owned(), mount.directory(path));
                }
            }
        }
        Self(found)
    }

    /// Whether version 1 has the controller `memory` or `cpuacct`.
    pub(super) fn has_accounting(&self) -> bool {
        self.0.contains_key("memory") || self.0.contains_key("cpuacct")
    }

    /// A directory whose `cgroup.procs` lists the container's processes. `runc` adds the processes to all these
    /// controllers, so the first one that exists will do.
    pub(super) fn with_processes(&self) -> Option<&Path> {
        let name = ["pids", "memory", "devices", "freezer", "cpuacct"];
        name.iter().find_map(|name| self.get(name))
    }

    /// The directory with the controller `memory`.
    pub(super) fn memory(&self) -> Option<&Path> {
        self.get("memory")
    }

    fn get(&self, controller: &str) -> Option<&Path> {
        self.0.get(controller).map(PathBuf::as_path)
    }
}

pub(super) fn metrics(directories: &Directories) -> Metrics {
    let mut metrics = Metrics::new();
    let mut cpu = CPUStat::new();
    if let Some(directory) = directories.get("cpuacct") {
        cpu.set_usage(usage(directory));
    }
    if let Some(directory) = directories.get("cpu") {
        cpu.set_throttling(throttling(directory));
    }
    metrics.set_cpu(cpu);
    if let Some(directory) = directories.get("memory") {
        metrics.set_memory(memory(directory));
        metrics.set_memory_oom_control(oom_control(directory));
    }
    if let Some(directory) = directories.get("pids") {
        let mut pids = PidsStat::new();
        pids.set_current(number(directory, "pids.current"));
        // containerd reports "unlimited" as 0 here.
        pids.set_limit(Some(number(directory, "pids.max")).filter(|limit| *limit != u64::MAX).unwrap_or(0));
        metrics.set_pids(pids);
    }
    if let Some(directory) = directories.get("blkio") {
        metrics.set_blkio(blkio(directory));
    }
    if let Some(directory) = directories.get("hugetlb") {
        metrics.hugetlb = hugetlb(directory);
    }
    metrics
}

/// OOM kills in a cgroup, without its children.
pub(super) fn oom_kills(memory: &Path) -> Option<u64> {
    Some(FlatKeyed::read_existing(memory, "memory.oom_control")?.get("oom_kill"))
}

fn usage(directory: &Path) -> CPUUsage {
    let stat = FlatKeyed::read(directory, "cpuacct.stat");
    let mut usage = CPUUsage::new();
    usage.set_total(number(directory, "cpuacct.usage"));
    usage.set_user(stat.get("user").saturating_mul(NANOSECONDS_PER_TICK));
    usage.set_kernel(stat.get("system").saturating_mul(NANOSECONDS_PER_TICK));
    let each = fs::read_to_string(directory.join("cpuacct.usage_percpu")).unwrap_or_default();
    usage.set_per_cpu(numbers(&each));
    usage
}

fn throttling(directory: &Path) -> Throttle {
    let stat = FlatKeyed::read(directory, "cpu.stat");
    let mut throttle = Throttle::new();
    throttle.set_periods(stat.get("nr_periods"));
    throttle.set_throttled_periods(stat.get("nr_throttled"));
    throttle.set_throttled_time(stat.get("throttled_time"));
    throttle
}

fn memory(directory: &Path) -> MemoryStat {
    let stat = FlatKeyed::read(directory, "memory.stat");
    MemoryStat {
        cache: stat.get("cache"),
        rss: stat.get("rss"),
        rss_huge: stat.get("rss_huge"),
        mapped_file: stat.get("mapped_file"),
        dirty: stat.get("dirty"),
        writeback: stat.get("writeback"),
        pg_pg_in: stat.get("pgpgin"),
        pg_pg_out: stat.get("pgpgout"),
        pg_fault: stat.get("pgfault"),
        pg_maj_fault: stat.get("pgmajfault"),
        inactive_anon: stat.get("inactive_anon"),
        active_anon: stat.get("active_anon"),
        inactive_file: stat.get("inactive_file"),
        active_file: stat.get("active_file"),
        unevictable: stat.get("unevictable"),
        hierarchical_memory_limit: stat.get("hierarchical_memory_limit"),
        hierarchical_swap_limit: stat.get("hierarchical_memsw_limit"),
        total_cache: stat.get("total_cache"),
        total_rss: stat.get("total_rss"),
        total_rss_huge: stat.get("total_rss_huge"),
        total_mapped_file: stat.get("total_mapped_file"),
        total_dirty: stat.get("total_dirty"),
        total_writeback: stat.get("total_writeback"),
        total_pg_pg_in: stat.get("total_pgpgin"),
        total_pg_pg_out: stat.get("total_pgpgout"),
        total_pg_fault: stat.get("total_pgfault"),
        total_pg_maj_fault: stat.get("total_pgmajfault"),
        total_inactive_anon: stat.get("total_inactive_anon"),
        total_active_anon: stat.get("total_active_anon"),
        total_inactive_file: stat.get("total_inactive_file"),
        total_active_file: stat.get("total_active_file"),
        total_unevictable: stat.get("total_unevictable"),
        usage: Some(entry(directory, "memory")).into(),
        swap: Some(entry(directory, "memory.memsw")).into(),
        kernel: Some(entry(directory, "memory.kmem")).into(),
        kernel_tcp: Some(entry(directory, "memory.kmem.tcp")).into(),
        ..MemoryStat::default()
    }
}

fn entry(directory: &Path, prefix: &str) -> MemoryEntry {
    let read = |name: &str| number(directory, &format!("{prefix}.{name}"));
    let mut entry = MemoryEntry::new();
    // Unchanged: containerd and the kubelet know the kernel's number for "unlimited".
    entry.set_limit(read("limit_in_bytes"));
    entry.set_usage(read("usage_in_bytes"));
    entry.set_max(read("max_usage_in_bytes"));
    entry.set_failcnt(read("failcnt"));
    entry
}

fn oom_control(directory: &Path) -> MemoryOomControl {
    let control = FlatKeyed::read(directory, "memory.oom_control");
    let mut message = MemoryOomControl::new();
    message.set_oom_kill_disable(control.get("oom_kill_disable"));
    message.set_under_oom(control.get("under_oom"));
    message.set_oom_kill(control.get("oom_kill"));
    message
}

fn blkio(directory: &Path) -> BlkIOStat {
    let mut stat = BlkIOStat::new();
    stat.set_io_service_bytes_recursive(blkio_entries(
        directory,
        "blkio.throttle.io_service_bytes_recursive",
    ));
    stat.set_io_serviced_recursive(blkio_entries(directory, "blkio.throttle.io_serviced_recursive"));
    stat
}

/// Reads lines of the form `MAJOR:MINOR OPERATION NUMBER`. The line with the total has another form and is left out.
fn blkio_entries(directory: &Path, file: &str) -> Vec<BlkIOEntry> {
    let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
    let entry = |line: &str| {
        let mut words = line.split_whitespace();
        let (major, minor) = words.next()?.split_once(':')?;
        let mut entry = BlkIOEntry::new();
        entry.set_major(major.parse().ok()?);
        entry.set_minor(minor.parse().ok()?);
        entry.set_op(words.next()?.to_owned());
        entry.set_value(words.next()?.parse().ok()?);
        Some(entry)
    };
    text.lines().filter_map(entry).collect()
}

fn hugetlb(directory: &Path) -> Vec<HugetlbStat> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let sizes = names.filter_map(|name| {
        let size = name.strip_prefix("hugetlb.")?.strip_suffix(".usage_in_bytes")?;
        (!size.contains('.')).then(|| size.to_owned())
    });
    let stat = |size: String| {
        let read = |name: &str| number(directory, &format!("hugetlb.{size}.{name}"));
        let mut stat = HugetlbStat::new();
        stat.set_usage(read("usage_in_bytes"));
        stat.set_max(read("max_usage_in_bytes"));
        stat.set_failcnt(read("failcnt"));
        stat.set_pagesize(size);
        stat
    };
    sizes.map(stat).collect()
}
