use wasi_http_host_core::InvalidSetting;
use wasi_http_host_keyvalue::UnknownStore;
use wasi_http_host_manifest::{
    ResolveError,
    settings::{FileError, SourceError},
};
use wasi_http_host_runtime::{ComponentError, engine::EngineError};

use super::AppError;

/// Why an application cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A setting's value cannot be.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The application cannot be read.
    #[error(transparent)]
    App(#[from] AppError),
    /// It asks for a store that is not there.
    #[error(transparent)]
    Store(#[from] UnknownStore),
    /// Its component is none that can be served.
    #[error("component {name:?}: {cause}")]
    Component {
        /// Its name.
        name: String,
        /// What is wrong with it.
        cause: ComponentError,
    },
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl LoadError {
    /// Whether a setting's value is at fault, be it a flag's or one that the manifest has for this host.
    #[must_use]
    pub fn is_setting(&self) -> bool {
        match self {
            Self::Setting(_) => true,
            Self::App(AppError::Manifest(error)) => error.is_setting(),
            _ => false,
        }
    }

    /// Whether another try may do better although nothing changes: the system failed to read something.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::App(AppError::Manifest(error)) => error.is_whole(),
            Self::App(AppError::Resolve(ResolveError::Source(SourceError::File(error)))) => {
                matches!(error, FileError::Io { .. })
            }
            Self::App(AppError::Read { .. } | AppError::Changed(_)) => true,
            _ => false,
        }
    }
}
