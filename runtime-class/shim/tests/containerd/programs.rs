//! Finds the programs and files that the tests need.

use std::{env, path::PathBuf};

/// A file that the tests cannot run without: the path in the variable `name`, else `program` on the PATH.
pub(crate) fn required(name: &str, program: &str) -> PathBuf {
    if let Some(path) = env::var_os(name) {
        let path = PathBuf::from(path);
        assert!(path.is_file(), "{name}={} is no file", path.display());
        return path;
    }
    find(program).unwrap_or_else(|| panic!("set {name}, or put {program} on the PATH"))
}

/// The first `program` on the PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(program)).find(|file| file.is_file())
}
