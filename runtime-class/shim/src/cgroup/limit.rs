//! A cgroup with limits for a process of the shim's own.

use std::{
    fs::{self, DirBuilder},
    os::unix::fs::DirBuilderExt as _,
    path::PathBuf,
};

use super::mountinfo::{self, MountInfo};
use crate::error::{Context as _, Error, Result};

/// What the processes of a cgroup may use together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of memory.
    pub(crate) memory: u64,
    /// Cores.
    pub(crate) cores: u64,
    /// Processes and threads.
    pub(crate) tasks: u64,
}

/// Microseconds for which the CPU time is counted (`cpu.max`).
const PERIOD: u64 = 100_000;

/// The file of version 2 that enables controllers for child cgroups.
const CONTROLLERS: &str = "cgroup.subtree_control";

/// Moves the calling process into the cgroup `name` below the root, which is created if need be.
///
/// # Errors
/// When a controller of memory or of the number of tasks is not mounted, or a file cannot be written.
pub(crate) fn enter(name: &str, limits: Limits) -> Result<()> {
    for (directory, files) in directories(name, limits, &mountinfo::read()?)? {
        if let Some(root) = directory.parent().filter(|root| root.join(CONTROLLERS).exists()) {
            // Version 2. Best effort: the kubelet has enabled them, and writing the limits shows whether they are.
            let _ = fs::write(root.join(CONTROLLERS), "+memory +cpu +pids");
        }
        DirBuilder::new().recursive(true).mode(0o755).create(&directory).context(|| directory.display())?;
        for (file, value) in files {
            let file = directory.join(file);
            fs::write(&file, value).context(|| file.display())?;
        }
        let file = directory.join("cgroup.procs");
        // 0 is the process that writes.
        fs::write(&file, "0").context(|| file.display())?;
    }
    Ok(())
}

/// A directory, and the files in it with their content.
type Directory = (PathBuf, Vec<(&'static str, String)>);

/// The directories of the cgroup: one for each controller in version 1, one in all in version 2.
///
/// # Errors
/// When a controller of memory or of the number of tasks is not mounted: a process must not run without these limits.
fn directories(name: &str, limits: Limits, mountinfo: &str) -> Result<Vec<Directory>> {
    let mounts: Vec<MountInfo<'_>> = mountinfo.lines().filter_map(MountInfo::parse).collect();
    let Limits { memory, cores, tasks } = limits;
    let quota = cores * PERIOD;
    let tasks = ("pids.max", tasks.to_string());
    let controllers = [
        ("memory", vec![("memory.limit_in_bytes", memory.to_string())]),
        ("cpu", vec![("cpu.cfs_period_us", PERIOD.to_string()), ("cpu.cfs_quota_us", quota.to_string())]),
        ("pids", vec![tasks.clone()]),
    ];
    let version_1 = controllers.into_iter().filter_map(|(controller, files)| {
        let mount = mounts.iter().find(|mount| {
            mount.kind == "cgroup" && mount.options.split(',').any(|option| option == controller)
        })?;
        Some((mount.directory(name), files))
    });
    let version_1: Vec<Directory> = version_1.collect();
    let missing = |controller: &str| {
        Error::Other(format!("no cgroup file system with the controller `{controller}` is mounted"))
    };
    let has = |start: &str| {
        version_1.iter().any(|(_, files)| files.iter().any(|(file, _)| file.starts_with(start)))
    };
    if has("memory.") {
        return if has("pids.") { Ok(version_1) } else { Err(missing("pids")) };
    }
    let version_2 = mounts.iter().find(|mount| mount.kind == "cgroup2");
    let files = vec![("memory.max", memory.to_string()), ("cpu.max", format!("{quota} {PERIOD}")), tasks];
    version_2.map(|mount| vec![(mount.directory(name), files)]).ok_or_else(|| missing("memory"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const LIMITS: Limits = Limits { memory: 1 << 30, cores: 2, tasks: 9 };

    #[test]
    fn version_1_has_a_directory_for_each_controller() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                      31 25 0:27 /node /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let error = directories("compile-1", LIMITS, mounts).unwrap_err().to_string();
        assert_eq!(error, "no cgroup file system with the controller `pids` is mounted");
        let mounts = format!("{mounts}33 25 0:29 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n");
        let found = directories("compile-1", LIMITS, &mounts).unwrap();
        let [(memory, limit), (cpu, quota), (pids, tasks)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(memory, Path::new("/sys/fs/cgroup/memory/compile-1"));
        assert_eq!(*limit, [("memory.limit_in_bytes", "1073741824".to_owned())]);
        assert_eq!(cpu, Path::new("/sys/fs/cgroup/cpu/compile-1"));
        assert_eq!(quota[1], ("cpu.cfs_quota_us", "200000".to_owned()));
        assert_eq!(pids, Path::new("/sys/fs/cgroup/pids/compile-1"));
        assert_eq!(*tasks, [("pids.max", "9".to_owned())]);
    }

    #[test]
    fn version_2_has_one_directory() {
        let mounts = "30 25 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let found = directories("compile-1", LIMITS, mounts).unwrap();
        let [(directory, files)] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!(directory, Path::new("/sys/fs/cgroup/compile-1"));
        assert_eq!(files[1..], [("cpu.max", "200000 100000".to_owned()), ("pids.max", "9".to_owned())]);
        let error = directories("compile-1", LIMITS, "").unwrap_err().to_string();
        assert_eq!(error, "no cgroup file system with the controller `memory` is mounted");
    }
}
