//! `spin.toml`: the same manifest that `spin up` reads, version 2, and what this host makes of it.
//!
//! A key that Spin knows and this host has no use for, or that nobody knows, is a [warning](Manifest::warnings)
//! with its path; a manifest that cannot be served is an [`Error`] with file, line and key. A bare `.wasm` file is
//! served as if a manifest had named it.

mod document;
mod least;
mod limits;
mod read;
mod resolved;
mod route;
pub mod settings;

pub use document::Error;
pub use least::{LEAST_MEMORY, LEAST_REQUEST_TIMEOUT};
pub use limits::OwnLimits;
pub use resolved::{ResolveError, Resolved};
pub use route::{InvalidRoute, Route, Routes};

use crate::settings::{Name, Template, Variable};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use wasi_http_host_core::DEFAULT_STORE;

/// Largest manifest, in bytes.
pub const MAX_BYTES: u64 = 1 << 20;

/// The manifest's name within a directory.
const FILE_NAME: &str = "spin.toml";

/// How each WebAssembly file begins.
const WASM_MAGIC: &[u8] = b"\0asm";

/// An application: its components, the routes that lead to them, and what each is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// `application.name`; of a bare component, its file's name.
    pub name: String,
    /// `application.version`.
    pub version: Option<String>,
    /// `[variables]`.
    pub variables: BTreeMap<Name, Variable>,
    /// The components that HTTP triggers name, each once, in the order of their triggers.
    pub components: Vec<Component>,
    /// Which paths lead to which of them.
    pub routes: Routes,
    /// What of the manifest has no effect here, each with the path of its key.
    pub warnings: Vec<String>,
}

/// `[component.ID]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Its ID: a label value in logs and metrics.
    pub id: String,
    /// Its code; a relative path has been joined to the manifest's directory.
    pub source: PathBuf,
    /// Templates of `allowed_outbound_hosts`; none of them has a secret variable in it.
    pub allowed_outbound_hosts: Vec<Template>,
    /// Names of the stores that it may open.
    pub key_value_stores: Vec<String>,
    /// The keys of its `wasi:config`.
    pub variables: BTreeMap<Name, Template>,
    /// Directories that it sees.
    pub files: Vec<Mount>,
    /// Its environment variables.
    pub environment: BTreeMap<String, String>,
    /// What bounds it more closely than the host's flags do.
    pub limits: OwnLimits,
}

/// `{ source = "…", destination = "…" }` in `files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// A directory here; a relative path has been joined to the manifest's directory.
    pub source: PathBuf,
    /// Where the component sees it: an absolute path.
    pub destination: String,
}

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

    /// The manifest that a component file without one is served by: all paths, the process's own store, and no more
    /// outbound hosts and settings than the flags `--allowed-outbound-host` and `--var` name.
    #[must_use]
    pub fn bare(wasm: &Path) -> Self {
        let name = wasm.file_stem().map_or("component".into(), |name| name.to_string_lossy());
        Self {
            name: name.to_string(),
            version: None,
            variables: BTreeMap::new(),
            components: vec![Component {
                id: name.to_string(),
                source: wasm.to_owned(),
                allowed_outbound_hosts: Vec::new(),
                key_value_stores: vec![DEFAULT_STORE.to_owned()],
                variables: BTreeMap::new(),
                files: Vec::new(),
                environment: BTreeMap::new(),
                limits: OwnLimits::default(),
            }],
            routes: Routes::all(),
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
