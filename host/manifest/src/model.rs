//! What a manifest says, read.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use wasi_http_host_core::DEFAULT_STORE;

use super::{
    OwnLimits, Routes,
    settings::{Name, Template, Variable},
};

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
