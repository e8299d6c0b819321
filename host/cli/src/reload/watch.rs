//! Watches files for changes by polling.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use wasi_http_host_manifest::Manifest;

/// Identifies a state of a file without reading the file. `None` if the file does not exist.
type FileState = Option<[u64; 7]>;

/// Files that are checked for changes by their metadata. Notifications do not cover everything that a path may lead
/// through, such as bind mounts, network file systems, and links that are replaced
/// (`docs/decisions/0035-files-are-polled.md`).
pub(crate) struct FileWatch {
    files: Vec<PathBuf>,
    /// The states that have been loaded.
    known: Vec<FileState>,
    /// The states of the last check.
    seen: Vec<FileState>,
}

impl FileWatch {
    /// Watches the manifest that `app` names. Must be called before the manifest is read.
    pub(crate) fn manifest(app: &Path) -> Self {
        Self::new(vec![Manifest::file(app)])
    }

    /// Also watches the components of `manifest`. Must be called before the components are read.
    pub(crate) fn components(&mut self, manifest: &Manifest) {
        self.extend(manifest.components.iter().map(|component| component.source.clone()).collect());
    }

    /// Takes the files' present states as loaded.
    fn new(files: Vec<PathBuf>) -> Self {
        let known = states(&files);
        Self { files, seen: known.clone(), known }
    }

    /// Whether a file has changed since it was loaded, and has not changed since the last check. A file that is being
    /// written waits for the next check.
    pub(super) fn has_settled(&mut self) -> bool {
        let now = states(&self.files);
        let still = now == self.seen;
        self.seen = now;
        still && self.seen != self.known
    }

    /// Takes the states of the last check as loaded.
    pub(super) fn mark_loaded(&mut self) {
        self.known.clone_from(&self.seen);
    }

    /// Also watches `files`, and takes the present states of new files as loaded.
    pub(super) fn extend(&mut self, files: Vec<PathBuf>) {
        for file in files {
            if !self.files.contains(&file) {
                let state = state(&file);
                self.files.push(file);
                self.known.push(state);
                self.seen.push(state);
            }
        }
    }
}

fn states(files: &[PathBuf]) -> Vec<FileState> {
    files.iter().map(|file| state(file)).collect()
}

fn state(file: &Path) -> FileState {
    let file = fs::metadata(file).ok()?;
    let times = [file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()].map(i64::cast_unsigned);
    let [mtime, mtime_ns, ctime, ctime_ns] = times;
    Some([file.dev(), file.ino(), file.size(), mtime, mtime_ns, ctime, ctime_ns])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_stands_still() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let mut watch = FileWatch::new(vec![path.clone()]);
        assert!(!watch.has_settled());
        fs::write(&path, "other").unwrap();
        assert!(!watch.has_settled(), "it may still be written");
        assert!(watch.has_settled());
        assert!(watch.has_settled(), "until it is dealt with");
        watch.mark_loaded();
        assert!(!watch.has_settled());
    }

    #[test]
    fn a_file_that_comes_goes_or_is_another_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("file"), dir.path().join("link"));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut watch = FileWatch::new(vec![link.clone()]);
        fs::write(&path, "one").unwrap();
        assert!(!watch.has_settled() && watch.has_settled(), "it has come");
        watch.mark_loaded();
        let other = dir.path().join("other");
        fs::write(&other, "two").unwrap();
        fs::rename(&other, &path).unwrap();
        assert!(!watch.has_settled() && watch.has_settled(), "another has its name");
        watch.mark_loaded();
        fs::remove_file(&path).unwrap();
        assert!(!watch.has_settled() && watch.has_settled(), "it has gone");
    }
}
