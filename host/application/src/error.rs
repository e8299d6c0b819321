//! Why an application cannot be served.

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
    /// A setting's value is not valid.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The manifest or a component's file cannot be read.
    #[error(transparent)]
    App(#[from] AppError),
    /// A component is granted a store that does not exist.
    #[error(transparent)]
    Store(#[from] UnknownStore),
    /// A component cannot be served.
    #[error("component {name:?}: {cause}")]
    Component {
        /// The component's ID.
        name: String,
        /// The reason.
        cause: ComponentError,
    },
    /// The engine cannot be set up.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl LoadError {
    /// Whether a setting's value is wrong: a flag's value, the file that a flag names, or a setting of this host in
    /// the manifest.
    #[must_use]
    pub fn is_setting(&self) -> bool {
        match self {
            Self::Setting(_) => true,
            Self::App(AppError::Manifest(error)) => error.is_setting(),
            Self::App(AppError::Resolve(ResolveError::Source(SourceError::File(_)))) => true,
            _ => false,
        }
    }

    /// Whether a retry may succeed although nothing changes, because the system failed to read something.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::App(AppError::Manifest(error)) => error.is_whole(),
            Self::App(AppError::Resolve(ResolveError::Source(SourceError::File(error)))) => {
                matches!(error, FileError::Directory { .. } | FileError::File { .. })
            }
            Self::App(AppError::Read { .. } | AppError::Changed(_)) => true,
            _ => false,
        }
    }
}
