//! Lines of `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`).

use std::path::{Path, PathBuf};

/// A mount of a cgroup file system.
#[derive(Debug)]
pub(super) struct MountInfo<'a> {
    /// The mounted directory within the file system. It is not `/` on a node that is itself a container.
    root: &'a str,
    point: &'a str,
    /// Type of the file system: `cgroup` (version 1) or `cgroup2`.
    pub(super) kind: &'a str,
    /// Options of the file system. Version 1 lists its controllers here.
    pub(super) options: &'a str,
}

impl<'a> MountInfo<'a> {
    /// Parses a line; `None` for a line of another form.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
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

    /// The directory of the cgroup `path`, which is relative to the file system's root.
    pub(super) fn directory(&self, path: &str) -> PathBuf {
        let path = path.strip_prefix(self.root.trim_end_matches('/')).unwrap_or(path);
        Path::new(self.point).join(path.trim_start_matches('/'))
    }
}
