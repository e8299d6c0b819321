//! A container's cgroup: its statistics and its processes, read from cgroup version 1 or 2.
//!
//! Formats: the kernel's `Documentation/admin-guide/cgroup-v1/` and `cgroup-v2.rst`. Messages: containerd's
//! `io.containerd.cgroups.v1.Metrics` and `v2.Metrics`.

mod files;
mod limit;
mod mountinfo;
mod oom;
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
pub(crate) use limit::{Limits, enter};
use mountinfo::MountInfo;
pub(crate) use oom::OomMonitor;

/// Levels of child cgroups that are searched for processes. An init system in a container creates child cgroups.
const DEPTH_MAX: usize = 16;

/// The directories of a container's cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cgroup {
    /// Version 1: one directory for each controller.
    V1(v1::Directories),
    /// Version 2: one directory for all controllers.
    V2(PathBuf),
}

impl Cgroup {
    /// Finds the cgroup of the process `pid`. `None` when neither version is mounted.
    ///
    /// # Errors
    /// When a file in `/proc` cannot be read, for example after the process's exit.
    pub(crate) fn of(pid: u32) -> Result<Option<Self>> {
        let path = format!("/proc/{pid}/cgroup");
        let membership = fs::read_to_string(&path).context(|| path)?;
        Ok(Self::locate(&membership, &mountinfo::read()?))
    }

    /// Finds the directories from the texts of `/proc/PID/cgroup` and `/proc/self/mountinfo`. A hybrid node mounts both
    /// versions: version 1 counts there if it has the controller `memory` or `cpuacct`.
    fn locate(membership: &str, mountinfo: &str) -> Option<Self> {
        let mounts: Vec<MountInfo<'_>> = mountinfo.lines().filter_map(MountInfo::parse).collect();
        let directories = v1::Directories::locate(membership, &mounts);
        if directories.has_accounting() {
            return Some(Self::V1(directories));
        }
        let path = membership.lines().find_map(|line| line.strip_prefix("0::"))?;
        mounts.iter().find(|mount| mount.kind == "cgroup2").map(|mount| Self::V2(mount.directory(path)))
    }

    /// The statistics in containerd's message for this version. A missing file counts as 0.
    ///
    /// # Errors
    /// When the message cannot be encoded.
    pub(crate) fn metrics(&self) -> Result<Any> {
        match self {
            Self::V1(directories) => message::any(&v1::metrics(directories)),
            Self::V2(directory) => message::any(&v2::metrics(directory)),
        }
    }

    /// Number of processes that the kernel has OOM-killed in this cgroup. `None` after the cgroup's removal, or without the
    /// controller `memory`.
    fn oom_kills(&self) -> Option<u64> {
        match self {
            Self::V1(directories) => v1::oom_kills(directories.memory()?),
            Self::V2(directory) => v2::oom_kills(directory),
        }
    }

    /// As [`Self::oom_kills`], for the parent and all its children. Only version 2 counts in this way.
    fn parent_oom_kills(&self) -> Option<u64> {
        match self {
            Self::V1(_) => None,
            Self::V2(directory) => v2::oom_kills(directory.parent()?),
        }
    }

    /// The pids of all processes in this cgroup and its children.
    pub(crate) fn processes(&self) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let directory = match self {
            Self::V1(directories) => directories.with_processes(),
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

#[cfg(test)]
mod tests;
