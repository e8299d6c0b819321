//! Reads a file within a bound.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// Maximum size of a file in bytes. A chain has some thousands, a system's bundle of authorities a quarter of this.
const MAX_FILE: u64 = 1 << 20;

pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Check the type before opening: opening a pipe without a writer would wait forever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("over the limit of {MAX_FILE} bytes")));
    }
    Ok(bytes)
}
