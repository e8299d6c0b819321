//! What is to be served, as it lies on disk: a manifest, and the components that it names.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::{
    config::Config,
    engine::Binary,
    manifest::{self, Manifest, ResolveError},
    settings::Sources,
};

/// Largest component binary, in bytes.
pub const MAX_WASM_BYTES: u64 = 256 << 20;

/// The application cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The manifest.
    #[error(transparent)]
    Manifest(#[from] manifest::Error),
    /// A component's file is missing or unreadable.
    #[error("{path}: {cause}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        cause: io::Error,
    },
    /// A component's file is over [`MAX_WASM_BYTES`].
    #[error("{path}: over the limit of {MAX_WASM_BYTES} bytes", path = .0.display())]
    TooLarge(PathBuf),
    /// A variable has no value, or not a fit one.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
}

/// Reads the manifest that `config` names, with what flags add to it. What of it has no effect is logged.
///
/// # Errors
/// Names the file, and line and key where there is one.
pub(crate) fn manifest(config: &Config) -> Result<Manifest, AppError> {
    let mut manifest = Manifest::load(&config.app)?;
    for component in &mut manifest.components {
        component.allowed_outbound_hosts.extend(config.allowed_outbound_hosts.iter().cloned());
    }
    for warning in &manifest.warnings {
        tracing::warn!("{warning}");
    }
    Ok(manifest)
}

/// Reads a component's binary.
///
/// # Errors
/// Names the file.
pub(crate) fn binary(path: &Path) -> Result<Binary, AppError> {
    let failed = |cause| AppError::Read { path: path.to_owned(), cause };
    let mut wasm = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_WASM_BYTES + 1).read_to_end(&mut wasm).map_err(failed)?;
    if wasm.len() as u64 > MAX_WASM_BYTES {
        return Err(AppError::TooLarge(path.to_owned()));
    }
    Ok(Binary::new(wasm))
}

/// Where the values of the manifest's variables come from.
pub(crate) fn sources(config: &Config) -> Sources {
    let assignments = config.vars.iter().flat_map(|vars| vars.0.iter().cloned()).collect();
    Sources::new(config.settings_dir.clone(), assignments)
}
