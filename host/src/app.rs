//! What is to be served: a manifest, and the component that it names.

use std::{
    fs::File,
    io::{self, Read as _},
    path::PathBuf,
};

use crate::{
    config::Config,
    manifest::{self, Manifest, ResolveError, Resolved},
    settings::Sources,
};

/// Largest component binary, in bytes.
pub const MAX_WASM_BYTES: u64 = 256 << 20;

/// A component with all that its manifest says of it.
#[derive(Debug)]
pub struct App {
    /// The manifest, or what stands for it.
    pub manifest: Manifest,
    /// The component's binary.
    pub wasm: Vec<u8>,
}

/// The application cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// The component's file is missing or unreadable.
    #[error("{path}: {cause}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// The component's file is over [`MAX_WASM_BYTES`].
    #[error("{path}: over the limit of {MAX_WASM_BYTES} bytes", path = .0.display())]
    TooLarge(PathBuf),
    /// A variable has no value, or not a fit one.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
}

impl App {
    /// Reads what `config` names. What of its manifest has no effect is logged.
    ///
    /// # Errors
    /// Names the file, and line and key where there is one.
    pub fn load(config: &Config) -> Result<Self, AppError> {
        let mut manifest = Manifest::load(&config.app)?;
        manifest.component.allowed_outbound_hosts.extend(config.allowed_outbound_hosts.iter().cloned());
        for warning in &manifest.warnings {
            tracing::warn!("{warning}");
        }
        let path = &manifest.component.source;
        let failed = |cause| AppError::Read { path: path.clone(), cause };
        let mut wasm = Vec::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_WASM_BYTES + 1).read_to_end(&mut wasm).map_err(failed)?;
        if wasm.len() as u64 > MAX_WASM_BYTES {
            return Err(AppError::TooLarge(path.clone()));
        }
        Ok(Self { manifest, wasm })
    }

    /// The component's name: in logs and metrics.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.manifest.component.id
    }

    /// Fills the manifest's variables in, for serving. Looking at a component does not need them.
    ///
    /// # Errors
    /// Names the variable that has no value, or the entry that is not valid with it.
    pub fn resolve(&self, config: &Config) -> Result<Resolved, AppError> {
        let assignments = config.vars.iter().flat_map(|vars| vars.0.iter().cloned()).collect();
        let sources = Sources::new(config.settings_dir.clone(), assignments);
        Ok(self.manifest.resolve(&sources, 0)?)
    }
}
