//! A manifest's way from its file.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use super::{Error, Manifest, read};

/// Largest manifest, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// The manifest's name within a directory.
const FILE_NAME: &str = "spin.toml";

/// How each WebAssembly file begins.
const WASM_MAGIC: &[u8] = b"\0asm";

impl Manifest {
    /// The file that [`Self::load`] reads for `path`.
    #[must_use]
    pub fn file(path: &Path) -> PathBuf {
        if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() }
    }

    /// Reads a manifest, the manifest in a directory, or a bare WebAssembly file: the content tells, not the name.
    ///
    /// # Errors
    /// When it cannot be read, or cannot be served.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let file = Self::file(path);
        let unreadable = |e: std::io::Error| Error::whole(&file, e.to_string());
        let mut bytes = Vec::new();
        let mut content = File::open(&file).map_err(unreadable)?.take(MAX_BYTES + 1);
        content.by_ref().take(WASM_MAGIC.len() as u64).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes == WASM_MAGIC {
            return Ok(Self::bare(&file));
        }
        content.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::whole(&file, format!("over the limit of {MAX_BYTES} bytes")));
        }
        let text = String::from_utf8(bytes);
        Self::parse(&text.map_err(|_| Error::whole(&file, "neither UTF-8 nor WebAssembly"))?, &file)
    }

    /// Reads the text of a manifest that lies, or would lie, at `path`.
    ///
    /// # Errors
    /// When it cannot be served.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        read::manifest(text, path)
    }
}
