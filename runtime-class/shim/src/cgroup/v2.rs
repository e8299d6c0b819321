//! Cgroup version 2: one hierarchy for all controllers. Times are in microseconds, in the files and in the message.

use std::{fs, path::Path};

use containerd_shim_protos::cgroups_v2::metrics::{
    CPUStat, HugeTlbStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, PSIData, PSIStats, PidsStat,
};

use super::files::{FlatKeyed, number};

/// File that counts what happened to the memory of a cgroup and its children.
pub(super) const MEMORY_EVENTS: &str = "memory.events";

pub(super) fn metrics(directory: &Path) -> Metrics {
    let mut metrics = Metrics::new();
    metrics.set_cpu(cpu(directory));
    metrics.set_memory(memory(directory));
    metrics.set_memory_events(events(directory));
    let mut pids = PidsStat::new();
    pids.set_current(number(directory, "pids.current"));
    // containerd reports "unlimited" as 0 here.
    pids.set_limit(Some(number(directory, "pids.max")).filter(|limit| *limit != u64::MAX).unwrap_or(0));
    metrics.set_pids(pids);
    metrics.set_io(io(directory));
    metrics.hugetlb = hugetlb(directory);
    metrics
}

/// OOM kills in a cgroup and its children.
pub(super) fn oom_kills(directory: &Path) -> Option<u64> {
    Some(FlatKeyed::read_existing(directory, MEMORY_EVENTS)?.get("oom_kill"))
}

fn cpu(directory: &Path) -> CPUStat {
    let stat = FlatKeyed::read(directory, "cpu.stat");
    CPUStat {
        usage_usec: stat.get("usage_usec"),
        user_usec: stat.get("user_usec"),
        system_usec: stat.get("system_usec"),
        nr_periods: stat.get("nr_periods"),
        nr_throttled: stat.get("nr_throttled"),
        throttled_usec: stat.get("throttled_usec"),
        nr_bursts: stat.get("nr_bursts"),
        burst_usec: stat.get("burst_usec"),
        psi: pressure(directory, "cpu.pressure").into(),
        ..CPUStat::default()
    }
}

fn memory(directory: &Path) -> MemoryStat {
    let stat = FlatKeyed::read(directory, "memory.stat");
    MemoryStat {
        anon: stat.get("anon"),
        file: stat.get("file"),
        kernel_stack: stat.get("kernel_stack"),
        slab: stat.get("slab"),
        sock: stat.get("sock"),
        shmem: stat.get("shmem"),
        file_mapped: stat.get("file_mapped"),
        file_dirty: stat.get("file_dirty"),
        file_writeback: stat.get("file_writeback"),
        anon_thp: stat.get("anon_thp"),
        inactive_anon: stat.get("inactive_anon"),
        active_anon: stat.get("active_anon"),
        inactive_file: stat.get("inactive_file"),
        active_file: stat.get("active_file"),
        unevictable: stat.get("unevictable"),
        slab_reclaimable: stat.get("slab_reclaimable"),
        slab_unreclaimable: stat.get("slab_unreclaimable"),
        pgfault: stat.get("pgfault"),
        pgmajfault: stat.get("pgmajfault"),
        workingset_refault: refaults(&stat, "refault"),
        workingset_activate: refaults(&stat, "activate"),
        workingset_nodereclaim: stat.get("workingset_nodereclaim"),
        pgrefill: stat.get("pgrefill"),
        pgscan: stat.get("pgscan"),
        pgsteal: stat.get("pgsteal"),
        pgactivate: stat.get("pgactivate"),
        pgdeactivate: stat.get("pgdeactivate"),
        pglazyfree: stat.get("pglazyfree"),
        pglazyfreed: stat.get("pglazyfreed"),
        thp_fault_alloc: stat.get("thp_fault_alloc"),
        thp_collapse_alloc: stat.get("thp_collapse_alloc"),
        usage: number(directory, "memory.current"),
        usage_limit: number(directory, "memory.max"),
        max_usage: number(directory, "memory.peak"),
        swap_usage: number(directory, "memory.swap.current"),
        swap_limit: number(directory, "memory.swap.max"),
        swap_max_usage: number(directory, "memory.swap.peak"),
        psi: pressure(directory, "memory.pressure").into(),
        ..MemoryStat::default()
    }
}

/// Adds the counters of anonymous memory and of files. Kernels before 5.9 have one counter for both.
fn refaults(stat: &FlatKeyed, what: &str) -> u64 {
    let read = |suffix: &str| stat.get(&format!("workingset_{what}{suffix}"));
    read("").saturating_add(read("_anon")).saturating_add(read("_file"))
}

fn events(directory: &Path) -> MemoryEvents {
    let events = FlatKeyed::read(directory, MEMORY_EVENTS);
    MemoryEvents {
        low: events.get("low"),
        high: events.get("high"),
        max: events.get("max"),
        oom: events.get("oom"),
        oom_kill: events.get("oom_kill"),
        oom_group_kill: events.get("oom_group_kill"),
        ..MemoryEvents::default()
    }
}

fn io(directory: &Path) -> IOStat {
    let text = fs::read_to_string(directory.join("io.stat")).unwrap_or_default();
    let mut io = IOStat::new();
    io.usage = text.lines().filter_map(io_entry).collect();
    io.psi = pressure(directory, "io.pressure").into();
    io
}

/// Parses a line of `io.stat`: `MAJOR:MINOR rbytes=N wbytes=N …`.
fn io_entry(line: &str) -> Option<IOEntry> {
    let (device, pairs) = line.split_once(' ')?;
    let (major, minor) = device.split_once(':')?;
    let mut entry = IOEntry::new();
    entry.set_major(major.parse().ok()?);
    entry.set_minor(minor.parse().ok()?);
    for (key, value) in pairs.split(' ').filter_map(|pair| pair.split_once('=')) {
        let value = value.parse().unwrap_or(0);
        match key {
            "rbytes" => entry.set_rbytes(value),
            "wbytes" => entry.set_wbytes(value),
            "rios" => entry.set_rios(value),
            "wios" => entry.set_wios(value),
            _ => {}
        }
    }
    Some(entry)
}

fn hugetlb(directory: &Path) -> Vec<HugeTlbStat> {
    let files = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = files.filter_map(|file| file.file_name().into_string().ok());
    let sizes =
        names.filter_map(|name| Some(name.strip_prefix("hugetlb.")?.strip_suffix(".current")?.to_owned()));
    let stat = |size: String| {
        let mut stat = HugeTlbStat::new();
        stat.set_current(number(directory, &format!("hugetlb.{size}.current")));
        stat.set_max(number(directory, &format!("hugetlb.{size}.max")));
        stat.set_failcnt(FlatKeyed::read(directory, &format!("hugetlb.{size}.events")).get("max"));
        stat.set_pagesize(size);
        stat
    };
    sizes.filter(|size| !size.contains('.')).map(stat).collect()
}

/// Reads pressure stall information (`Documentation/accounting/psi.rst`). `None` if the kernel has none.
fn pressure(directory: &Path, file: &str) -> Option<PSIStats> {
    let text = fs::read_to_string(directory.join(file)).ok()?;
    let mut stats = PSIStats::new();
    for line in text.lines() {
        let (kind, pairs) = line.split_once(' ')?;
        let mut data = PSIData::new();
        for (key, value) in pairs.split(' ').filter_map(|pair| pair.split_once('=')) {
            match key {
                "avg10" => data.avg10 = value.parse().ok()?,
                "avg60" => data.avg60 = value.parse().ok()?,
                "avg300" => data.avg300 = value.parse().ok()?,
                "total" => data.total = value.parse().ok()?,
                _ => {}
            }
        }
        match kind {
            "some" => stats.set_some(data),
            "full" => stats.set_full(data),
            _ => {}
        }
    }
    Some(stats)
}
