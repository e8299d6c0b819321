//! A container's cgroup: what it uses, who is in it. Version 1 and 2, read from the files themselves.

mod files;
mod v1;
mod v2;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use containerd_shim_protos::protobuf::well_known_types::any::Any;

use crate::{
    error::{Context as _, Result},
    message,
};

/// Directories below a container's own that are looked into: an init system in a container makes some.
const DEPTH_MAX: usize = 16;

/// Where the kernel keeps a container's accounts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cgroup {
    /// A directory for each controller.
    V1(v1::Directories),
    /// One directory for all.
    V2(PathBuf),
}

impl Cgroup {
    /// That of the process `pid`.
    pub(crate) fn of(pid: i32) -> Result<Option<Self>> {
        let path = format!("/proc/{pid}/cgroup");
        let membership = fs::read_to_string(&path).context(|| path)?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").context(|| "/proc/self/mountinfo")?;
        Ok(Self::locate(&membership, &mounts))
    }

    /// Finds the directories from `/proc/PID/cgroup` and `/proc/self/mountinfo`. Version 1 wins where both are
    /// mounted and it has the memory controller, as on hybrid nodes.
    fn locate(membership: &str, mountinfo: &str) -> Option<Self> {
        let mounts: Vec<Mount<'_>> = mountinfo.lines().filter_map(Mount::parse).collect();
        let directories = v1::Directories::locate(membership, &mounts);
        if directories.accounts() {
            return Some(Self::V1(directories));
        }
        let path = membership.lines().find_map(|line| line.strip_prefix("0::"))?;
        mounts.iter().find(|mount| mount.kind == "cgroup2").map(|mount| Self::V2(mount.directory(path)))
    }

    /// The accounts, in containerd's message for this version.
    pub(crate) fn metrics(&self) -> Result<Any> {
        match self {
            Self::V1(directories) => message::any(&v1::metrics(directories)),
            Self::V2(directory) => message::any(&v2::metrics(directory)),
        }
    }

    /// Processes that were killed for want of memory so far.
    pub(crate) fn oom_kills(&self) -> u64 {
        match self {
            Self::V1(directories) => v1::oom_kills(directories),
            Self::V2(directory) => v2::oom_kills(directory),
        }
    }

    /// All processes, in the order of their numbers.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let directory = match self {
            Self::V1(directories) => directories.any(),
            Self::V2(directory) => Some(directory.as_path()),
        };
        if let Some(directory) = directory {
            collect(directory, DEPTH_MAX, &mut found);
        }
        found
    }
}

fn collect(directory: &Path, depth: usize, found: &mut BTreeSet<u32>) {
    let processes = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
    found.extend(processes.lines().filter_map(|line| line.parse::<u32>().ok()));
    let Some(depth) = depth.checked_sub(1) else { return };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), depth, found);
        }
    }
}

/// A line of `mountinfo`.
#[derive(Debug)]
struct Mount<'a> {
    /// What of the file system is mounted: not `/` where a node is itself a container.
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    /// The file system's own options: with version 1, its controllers.
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut system = system.split(' ');
        Some(Self {
            root: mount.next()?,
            point: mount.next()?,
            kind: system.next()?,
            options: system.nth(1).unwrap_or_default(),
        })
    }

    /// Where the cgroup `path` is seen.
    fn directory(&self, path: &str) -> PathBuf {
        let path = path.strip_prefix(self.root.trim_end_matches('/')).unwrap_or(path);
        Path::new(self.point).join(path.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests;
