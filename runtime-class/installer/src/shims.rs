//! Counts the running shims: one for each pod of the runtime class.

use std::path::Path;

use crate::{
    process::{self, file_name},
    runtime::SHIM,
};

/// Number of shim processes in `proc`, the directory `/proc`. A pod sees the node's processes only with `hostPID`.
#[must_use]
pub fn running(proc: &Path) -> usize {
    let is_shim =
        |arguments: Vec<String>| arguments.first().is_some_and(|program| file_name(program) == SHIM);
    process::all(proc).filter(|process| is_shim(process.arguments())).count()
}

#[cfg(test)]
mod tests {
    use std::fs;

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
