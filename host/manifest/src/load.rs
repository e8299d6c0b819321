//! Reads a manifest from its file.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use wasi_http_host_core::unreadable;

use super::{Error, Manifest, read};

/// Largest manifest, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// The manifest's file name in a directory.
const FILE_NAME: &str = "spin.toml";

/// What the file should be, for a message.
const WANTED: &str =
    "a component (.wasm), a spin.toml, or a directory that has one, as the argument or in WASI_HTTP_HOST_APP";

/// The first four bytes of every WebAssembly file.
const WASM_MAGIC: &[u8] = b"\0asm";

impl Manifest {
    /// The file that [`Self::load`] reads for `path`.
    #[must_use]
    pub fn file(path: &Path) -> PathBuf {
        if path.is_dir() { path.join(FILE_NAME) } else { path.to_owned() }
    }

    /// Reads a manifest, the manifest in a directory, or a bare WebAssembly file. The file's content decides which of
    /// them it is; the file's name does not matter.
    ///
    /// # Errors
    /// The file is unreadable, is larger than [`MAX_BYTES`], is not UTF-8, or is a manifest that the host cannot
    /// serve.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let path = Self::file(path);
        let file = File::open(&path).map_err(|e| Error::whole(&path, unreadable(&path, WANTED, &e)))?;
        Self::read(&file, &path)
    }

    /// As [`Self::load`], for a file that is open already. `path` is its path for messages, and for relative paths in the
    /// manifest.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn read(file: &File, path: &Path) -> Result<Self, Error> {
        let unreadable = |e: std::io::Error| Error::whole(path, unreadable(path, WANTED, &e));
        let mut bytes = Vec::new();
        let mut content = file.take(MAX_BYTES + 1);
        content.by_ref().take(WASM_MAGIC.len() as u64).read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes == WASM_MAGIC {
            return Ok(Self::bare(path));
        }
        content.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::whole(path, format!("over the limit of {MAX_BYTES} bytes")));
        }
        let text = String::from_utf8(bytes);
        let text =
            text.map_err(|_| Error::whole(path, format!("neither UTF-8 nor WebAssembly: want {WANTED}")))?;
        Self::parse(&text, path)
    }

    /// Reads the text of a manifest. Relative paths in `text` start at the directory of `path`; no file needs to
    /// exist at `path`.
    ///
    /// # Errors
    /// The host cannot serve the manifest.
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        read::manifest(text, path)
    }
}
