//! The node's file system, mounted at some directory. All paths are paths on the node.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::Access;

use crate::error::{Error, Result};

/// Bytes of a configuration. Real ones have a few kilobytes.
const FILE_MAX: u64 = 1 << 20;

/// Reads and writes the node's files, from the node itself or from a pod that mounts the node's `/`.
#[derive(Clone, Debug)]
pub struct Node {
    root: PathBuf,
}

impl Node {
    /// The node whose `/` is mounted at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Whether this program runs on the node itself.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The path by which this program reaches `path` of the node.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Whether `path` exists, as a file of any kind.
    #[must_use]
    pub fn exists(&self, path: &Path) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Reads a text file; `None` if it does not exist.
    ///
    /// # Errors
    /// When the file is longer than 1 MiB, is not UTF-8, or is no regular file.
    pub fn read(&self, path: &Path) -> Result<Option<String>> {
        let here = self.path(path);
        let metadata = match here.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::file(path))?,
        };
        if !metadata.is_file() {
            // A symbolic link is refused too: its target would be resolved in this program's root, not in the node's.
            let reason = io::Error::other("not a regular file: pass the path of the real file by --config");
            return Err(Error::file(path)(reason));
        }
        if metadata.len() > FILE_MAX {
            return Err(Error::file(path)(io::Error::other(format!("more than {FILE_MAX} bytes"))));
        }
        fs::read_to_string(here).map(Some).map_err(Error::file(path))
    }

    /// Replaces a file by renaming. An existing file keeps its owner and mode; a new one gets `mode`.
    ///
    /// # Errors
    /// When the file cannot be written. Then the old content is still there.
    pub fn write(&self, path: &Path, content: &[u8], mode: u32) -> Result<()> {
        let here = self.path(path);
        let fresh = here
            .with_file_name(format!(".{}.wasi-http", path.file_name().unwrap_or_default().to_string_lossy()));
        self.write_fresh(&here, &fresh, content, mode).map_err(|error| {
            let _already_failing = fs::remove_file(&fresh);
            Error::file(path)(error)
        })
    }

    fn write_fresh(&self, here: &Path, fresh: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        if let Some(parent) = here.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(fresh, content)?;
        let before = here.metadata().ok();
        fs::set_permissions(
            fresh,
            fs::Permissions::from_mode(before.as_ref().map_or(mode, |file| file.mode() & 0o7777)),
        )?;
        if let Some(file) = before {
            std::os::unix::fs::chown(fresh, Some(file.uid()), Some(file.gid()))?;
        }
        // Without the sync, a power failure could leave an empty file under the final name.
        fs::File::open(fresh)?.sync_all()?;
        fs::rename(fresh, here)
    }

    /// Makes `path` a symbolic link to `target`, by renaming. The link is made in the directory above that of `path`, because programs may
    /// act on every entry of that directory.
    ///
    /// # Errors
    /// When the link cannot be made. Then `path` is as before.
    pub fn link(&self, path: &Path, target: &Path) -> Result<()> {
        let here = self.path(path);
        if fs::read_link(&here).is_ok_and(|found| found == target) {
            return Ok(());
        }
        let directory = here.parent().unwrap_or(&self.root);
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let fresh = directory.parent().unwrap_or(&self.root).join(format!(".{name}.wasi-http"));
        let linked = fs::create_dir_all(directory).and_then(|()| {
            // An earlier run may have been killed.
            let _not_there = fs::remove_file(&fresh);
            std::os::unix::fs::symlink(target, &fresh)?;
            fs::rename(&fresh, &here)
        });
        linked.map_err(Error::file(path))
    }

    /// Names of the files in a directory; none if there is no such directory.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn names(&self, directory: &Path) -> Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(directory)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(Error::file(directory))?,
        };
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()));
        names.collect::<io::Result<_>>().map_err(Error::file(directory))
    }

    /// Checks that files can be made in a directory, or that the directory can be made, without making anything. The error ends with the
    /// `remedy`.
    ///
    /// # Errors
    /// When the directory is on a read-only file system, or a file is in its place.
    pub fn check_writable(&self, directory: &Path, remedy: &str) -> Result<()> {
        let failed = |reason: &str| {
            let hint = format!("{reason}: {remedy}");
            Error::file(directory)(io::Error::other(hint))
        };
        let nearest = directory.ancestors().map(|path| self.path(path)).find(|path| path.exists());
        let nearest = nearest.filter(|path| path.is_dir()).ok_or_else(|| failed("not a directory"))?;
        rustix::fs::access(&nearest, Access::WRITE_OK).map_err(|error| failed(&error.to_string()))
    }

    /// Makes a directory with this mode, and its parents. A directory that exists is no error, and keeps its mode.
    ///
    /// # Errors
    /// When the directory cannot be made, or a file is in its place.
    pub fn make_directory(&self, path: &Path, mode: u32) -> Result<()> {
        fs::DirBuilder::new().recursive(true).mode(mode).create(self.path(path)).map_err(Error::file(path))
    }

    /// Removes a directory and what it holds. A missing directory is no error. A symbolic link is removed, not followed.
    ///
    /// # Errors
    /// When something in it cannot be removed.
    pub fn remove_tree(&self, path: &Path) -> Result<()> {
        match fs::remove_dir_all(self.path(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file(path)(error)),
            _ => Ok(()),
        }
    }

    /// Removes a file. A missing file is no error.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(&self, path: &Path) -> Result<()> {
        match fs::remove_file(self.path(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file(path)(error)),
            _ => Ok(()),
        }
    }
}
