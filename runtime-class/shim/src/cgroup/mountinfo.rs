//! Lines of `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::error::{Context as _, Result};

/// The mounts of this process.
const FILE: &str = "/proc/self/mountinfo";

/// Reads the mounts of this process.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn read() -> Result<String> {
    Ok(text(&fs::read(FILE).context(|| FILE)?))
}

/// The text of a file of mounts. Any pod of the node may have a volume whose path is not UTF-8. The paths of cgroup file
/// systems are UTF-8, so the characters that replace other bytes do not matter.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_with_a_name_that_is_not_utf_8_hides_no_other() {
        let mounts = text(
            b"90 23 0:40 / /var/lib/kubelet/pods/3c1b/volume-subpaths/\xff\xfe/0 rw - ext4 /dev/sda1 rw\n\
              30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n",
        );
        let kinds: Vec<_> = mounts.lines().filter_map(MountInfo::parse).map(|mount| mount.kind).collect();
        assert_eq!(kinds, ["ext4", "cgroup2"]);
    }
}
