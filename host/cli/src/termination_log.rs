//! The file in which Kubernetes looks for the reason of a container's end.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use wasi_http_host_core::bounded;

/// The path of the file, unless the pod's `terminationMessagePath` is another.
pub(crate) const DEFAULT: &str = "/dev/termination-log";
/// The kubelet reads at most this number of bytes of the file.
const MAX_BYTES: usize = 4096;

/// Writes `reason` into the file at `path`, which the kubelet has mounted. Never creates a file: outside of a pod, nobody
/// would read or remove the file.
pub(crate) fn write(path: &Path, reason: &str) -> io::Result<()> {
    // Check the type before opening: opening a pipe without a reader would block for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut file = File::options().write(true).truncate(true).open(path)?;
    file.write_all(bounded(reason, MAX_BYTES).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_that_exists_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("termination-log");
        assert_eq!(write(&file, "reason").unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(!file.exists());
        assert!(write(directory.path(), "reason").unwrap_err().to_string().contains("not a regular file"));

        fs::write(&file, "what an earlier run wrote, which is longer").unwrap();
        write(&file, "reason").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "reason");
    }

    #[test]
    fn no_more_is_written_than_the_kubelet_reads() {
        let file = tempfile::NamedTempFile::new().unwrap();
        write(file.path(), &"é".repeat(4000)).unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "é".repeat(2048));
    }
}
