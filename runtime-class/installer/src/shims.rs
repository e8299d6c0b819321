//! Counts the running shims: one for each pod of the runtime class.

use std::{fs, path::Path};

use crate::runtime::SHIM;

/// Number of shim processes in `proc`, the directory `/proc`. A pod sees the node's processes only with `hostPID`.
#[must_use]
pub fn running(proc: &Path) -> usize {
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    processes.filter(|process| is_shim(&process.path())).count()
}

fn is_shim(process: &Path) -> bool {
    // `cmdline` holds the arguments, separated by zero bytes. The first one is the program.
    let Ok(line) = fs::read(process.join("cmdline")) else { return false };
    let program = line.split(|byte| *byte == 0).next().unwrap_or_default();
    program.rsplit(|byte| *byte == b'/').next() == Some(SHIM.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_processes_of_the_shim_count() {
        let proc = tempfile::tempdir().expect("a directory");
        let processes = [
            ("1", "/sbin/init\0"),
            ("20", "/usr/local/bin/containerd-shim-wasi-http-v1\0-namespace\0k8s.io\0"),
            ("21", "containerd-shim-wasi-http-v1\0"),
            ("22", "/usr/bin/containerd-shim-runc-v2\0-id\0containerd-shim-wasi-http-v1\0"),
            ("self", ""),
        ];
        for (id, line) in processes {
            let directory = proc.path().join(id);
            fs::create_dir(&directory)
                .and_then(|()| fs::write(directory.join("cmdline"), line))
                .expect("a process");
        }
        assert_eq!(running(proc.path()), 2);
    }
}
