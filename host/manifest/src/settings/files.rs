//! Reads variables from a settings directory, such as a mounted ConfigMap or Secret.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use wasi_http_host_core::unreadable;

/// Largest settings file, in bytes.
pub const MAX_FILE_BYTES: u64 = 64 << 10;

/// Most entries of a settings directory, including hidden entries and entries that are not used.
pub const MAX_FILES: usize = 4096;

/// A settings directory, or a file in it, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The operating system failed to read the directory.
    #[error("{}: {}", path.display(), unreadable(path, "a directory with one file for each setting", source))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The operating system failed to read a file in the directory.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        source: io::Error,
    },
    /// The file is larger than [`MAX_FILE_BYTES`].
    #[error("{}: over the limit of {MAX_FILE_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    /// The directory has more than [`MAX_FILES`] entries.
    #[error("{}: over the limit of {MAX_FILES} entries", .0.display())]
    TooMany(PathBuf),
    /// The file is not UTF-8.
    #[error("{}: not UTF-8", .0.display())]
    NotText(PathBuf),
    /// Two files set the same variable, for example `token` and `TOKEN`.
    #[error("{} and {} set the same variable", .0.display(), .1.display())]
    Twice(PathBuf, PathBuf),
}

/// Reads each file in `directory` whose name in lower case is `wanted`, and removes one trailing line break.
///
/// Kubernetes mounts a ConfigMap or Secret as symbolic links into a hidden directory (`token → ..data/token`, `..data
/// → ..2026_…`), and replaces the directory atomically. Therefore this function follows links and skips hidden names.
pub(super) fn read(
    directory: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, String>, FileError> {
    let of_directory = |source| FileError::Directory { path: directory.into(), source };
    let mut found: BTreeMap<String, (PathBuf, String)> = BTreeMap::new();
    for (n, entry) in fs::read_dir(directory).map_err(of_directory)?.enumerate() {
        if n >= MAX_FILES {
            return Err(FileError::TooMany(directory.into()));
        }
        let entry = entry.map_err(of_directory)?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let name = name.to_ascii_lowercase();
        if name.starts_with('.') || !wanted(&name) {
            continue;
        }
        let path = entry.path();
        // Check the type before opening: opening a pipe without a writer would block for ever.
        let of_file = |source| FileError::File { path: path.clone(), source };
        if !fs::metadata(&path).map_err(of_file)?.is_file() {
            continue;
        }
        let text = text(&path, File::open(&path).map_err(of_file)?)?;
        if let Some((other, _)) = found.get(&name) {
            let (a, b) = if *other < path { (other.clone(), path) } else { (path, other.clone()) };
            return Err(FileError::Twice(a, b));
        }
        found.insert(name, (path, text));
    }
    Ok(found.into_iter().map(|(name, (_, text))| (name, text)).collect())
}

fn text(path: &Path, file: File) -> Result<String, FileError> {
    let mut bytes = Vec::new();
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|source| FileError::File { path: path.into(), source })?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(FileError::TooLarge(path.into()));
    }
    let mut text = String::from_utf8(bytes).map_err(|_| FileError::NotText(path.into()))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
