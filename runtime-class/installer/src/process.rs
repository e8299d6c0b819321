//! The node's processes, read from `/proc`. A pod sees them only with `hostPID`.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

/// Bytes of a process's command line or cgroups that are read.
const TEXT_MAX: u64 = 1 << 16;

/// A process of the node.
#[derive(Debug)]
pub(crate) struct Process {
    directory: PathBuf,
}

/// All processes in `proc`, the directory `/proc`.
pub(crate) fn all(proc: &Path) -> impl Iterator<Item = Process> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    entries.map(|entry| Process { directory: entry.path() })
}

impl Process {
    /// The program and its arguments. Empty if the process has ended, or is a thread of the kernel.
    pub(crate) fn arguments(&self) -> Vec<String> {
        // `cmdline` holds the arguments, each with a zero byte at its end.
        let text = self.read("cmdline");
        let text = text.strip_suffix('\0').unwrap_or(&text);
        if text.is_empty() { Vec::new() } else { text.split('\0').map(str::to_owned).collect() }
    }

    /// The systemd service that runs the process; `None` for a process of a container.
    pub(crate) fn service(&self) -> Option<String> {
        let cgroups = self.read("cgroup");
        // cgroup v2 has one line `0::PATH`. In cgroup v1, systemd has a hierarchy of its own.
        let path = cgroups
            .lines()
            .find_map(|line| line.split_once(":name=systemd:"))
            .or_else(|| cgroups.lines().find_map(|line| line.split_once("0::")))?
            .1;
        if path.contains("kubepods") {
            return None;
        }
        path.rsplit('/').find(|name| name.ends_with(".service")).map(str::to_owned)
    }

    fn read(&self, name: &str) -> String {
        let mut bytes = Vec::new();
        let read =
            File::open(self.directory.join(name)).map(|file| file.take(TEXT_MAX).read_to_end(&mut bytes));
        if read.is_ok() { String::from_utf8_lossy(&bytes).into_owned() } else { String::new() }
    }
}

/// The last component of a program's path.
pub(crate) fn file_name(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_is_read_from_either_version_of_cgroups() {
        let proc = tempfile::tempdir().expect("a directory");
        let directory = proc.path().join("7");
        fs::create_dir(&directory).expect("a process");
        for (cgroups, expected) in [
            ("0::/system.slice/rke2-server.service\n", Some("rke2-server.service")),
            // As a process in another cgroup namespace sees it.
            ("0::/../../system.slice/containerd.service/init\n", Some("containerd.service")),
            ("11:cpu:/\n1:name=systemd:/system.slice/k3s.service\n0::/\n", Some("k3s.service")),
            ("0::/system.slice/docker-0123.scope\n", None),
            ("0::/kubepods.slice/kubepods-pod1.slice/x/system.slice/containerd.service\n", None),
            ("", None),
        ] {
            fs::write(directory.join("cgroup"), cgroups).expect("its cgroups");
            let process = Process { directory: directory.clone() };
            assert_eq!(process.service().as_deref(), expected, "{cgroups}");
        }
    }
}
