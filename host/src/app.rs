//! What is to be served: a component, its name, and what it is granted.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    config::Config,
    keyvalue::DEFAULT_STORE,
    settings::{Snapshot, SourceError, Sources},
};

/// A component with all that its manifest says of it.
#[derive(Debug)]
pub struct App {
    /// The component's name: in logs, metrics.
    pub name: String,
    /// The component's binary.
    pub wasm: Vec<u8>,
    /// Its settings (`wasi:config`).
    pub settings: Arc<Snapshot>,
    /// The stores that it may open (`wasi:keyvalue`).
    pub stores: Vec<String>,
    /// What it may connect to (`wasi:http` client).
    pub outbound: Vec<String>,
    /// Its environment variables.
    pub environment: Vec<(String, String)>,
}

/// The application cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A file is missing or unreadable.
    #[error("{path}: {cause}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A setting has no value.
    #[error(transparent)]
    Settings(#[from] SourceError),
}

impl App {
    /// Reads what `config` names.
    ///
    /// # Errors
    /// Names the file, and the key where there is one.
    pub fn load(config: &Config) -> Result<Self, AppError> {
        let sources = Sources::new(config.settings_dir.clone(), config.vars.clone());
        Self::bare(&config.app, &sources)
    }

    /// A component without a manifest: its settings are those that flags declare.
    fn bare(path: &Path, sources: &Sources) -> Result<Self, AppError> {
        let wasm = read(path)?;
        let variables = sources.read(&BTreeMap::new())?;
        let values = sources
            .assigned()
            .filter_map(|name| Some((name.clone(), variables.get(name)?.clone())))
            .collect();
        Ok(Self {
            name: path
                .file_stem()
                .map_or_else(|| "component".to_owned(), |stem| stem.to_string_lossy().into_owned()),
            wasm,
            settings: Arc::new(Snapshot::new(0, values)),
            stores: vec![DEFAULT_STORE.to_owned()],
            outbound: Vec::new(),
            environment: Vec::new(),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, AppError> {
    fs::read(path).map_err(|cause| AppError::Read { path: path.to_owned(), cause })
}
