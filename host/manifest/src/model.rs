//! The content of a manifest as Rust types.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use wasi_http_host_core::{DEFAULT_STORE, bounded};

use super::{
    OwnLimits, Routes,
    settings::{Name, Template, Variable},
};

/// Longest ID of a component, in bytes. Each log line and each metric of the component repeats the ID.
pub const MAX_ID_BYTES: usize = 64;

/// An application: its components, their routes, and what each component is granted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// `application.name`. For a bare component, the name of its file.
    pub name: String,
    /// `application.version`.
    pub version: Option<String>,
    /// `[variables]`.
    pub variables: BTreeMap<Name, Variable>,
    /// The components that HTTP triggers name, each once, in the order of their triggers.
    pub components: Vec<Component>,
    /// The routes, each with an index into `components`.
    pub routes: Routes,
    /// Parts of the manifest that have no effect in this host, each with the path of its key.
    pub warnings: Vec<String>,
}

/// `[component.ID]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The component's ID, at most [`MAX_ID_BYTES`] long. Logs and metrics use it as a label value.
    pub id: String,
    /// The file with the component's code. A relative path has been joined to the manifest's directory.
    pub source: PathBuf,
    /// Templates of `allowed_outbound_hosts`. None of them uses a secret variable, because metrics show the entries.
    pub allowed_outbound_hosts: Vec<Template>,
    /// Names of the key-value stores that the component may open.
    pub key_value_stores: Vec<String>,
    /// The keys of the component's `wasi:config`.
    pub variables: BTreeMap<Name, Template>,
    /// Directories that the component can read.
    pub files: Vec<Mount>,
    /// The component's environment variables.
    pub environment: BTreeMap<String, String>,
    /// The component's own limits, which can be stricter than the host's flags.
    pub limits: OwnLimits,
}

/// `{ source = "…", destination = "…" }` in `files`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The manifest's directory. The host refuses a source whose links lead out of it.
    pub below: PathBuf,
    /// A directory of the host. The manifest's relative path has been joined to the manifest's directory.
    pub source: PathBuf,
    /// The absolute path at which the component sees the directory.
    pub destination: String,
}

impl Manifest {
    /// The manifest for a component file that has none: the component serves all paths and may open the process's own
    /// store. Its outbound hosts and settings are only those of the flags `--allowed-outbound-host` and `--var`. Its ID is
    /// the file's name, cut after [`MAX_ID_BYTES`].
    #[must_use]
    pub fn bare(wasm: &Path) -> Self {
        let name = wasm.file_stem().map_or("component".into(), |name| name.to_string_lossy());
        let name = bounded(&name, MAX_ID_BYTES);
        Self {
            name: name.to_owned(),
            version: None,
            variables: BTreeMap::new(),
            components: vec![Component {
                id: name.to_owned(),
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
