//! The node's file system, mounted somewhere; paths are always the node's own.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use crate::error::{Error, Result};

/// Configurations are a few kilobytes; more is not one.
const MAX_FILE: u64 = 1 << 20;

/// A node's files.
#[derive(Clone, Debug)]
pub struct Node {
    root: PathBuf,
}

impl Node {
    /// The node whose `/` is mounted at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// This program runs on the node itself.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a path of the node is found from here.
    #[must_use]
    pub fn path(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Something is there, whatever it is.
    #[must_use]
    pub fn exists(&self, path: &Path) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// The text of a file; `None` when there is none.
    ///
    /// # Errors
    /// When it is there and cannot be read: too long, no UTF-8, no regular file.
    pub fn read(&self, path: &Path) -> Result<Option<String>> {
        let here = self.path(path);
        let metadata = match here.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(Error::file(path))?,
        };
        if !metadata.is_file() {
            // Also a link: what it leads to would be sought in this program's own root.
            let reason = io::Error::other("it is no regular file: name the real one by --config");
            return Err(Error::file(path)(reason));
        }
        if metadata.len() > MAX_FILE {
            return Err(Error::file(path)(io::Error::other(format!("it has more than {MAX_FILE} bytes"))));
        }
        fs::read_to_string(here).map(Some).map_err(Error::file(path))
    }

    /// Writes a file whole or not at all; one that was there keeps its owner and mode.
    ///
    /// # Errors
    /// When it cannot be written; what was there is still there.
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
        // A power cut must not leave an empty configuration behind the new name.
        fs::File::open(fresh)?.sync_all()?;
        fs::rename(fresh, here)
    }

    /// Removes a file; that there is none is fine.
    ///
    /// # Errors
    /// When it stays.
    pub fn remove(&self, path: &Path) -> Result<()> {
        match fs::remove_file(self.path(path)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file(path)(error)),
            _ => Ok(()),
        }
    }
}
