use std::{io, net::SocketAddr};

use crate::{
    application::AppError,
    component::ComponentError,
    config::Invalid,
    engine::EngineError,
    keyvalue::UnknownStore,
    outbound::{InvalidProxy, RootsError},
};

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting's value cannot be.
    #[error(transparent)]
    Config(#[from] Invalid),
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
    /// The proxy.
    #[error(transparent)]
    Proxy(#[from] InvalidProxy),
    /// The certificates to trust.
    #[error(transparent)]
    Roots(#[from] RootsError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A listener.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        cause: io::Error,
    },
    /// The operating system.
    #[error("the system refused a thread or an event queue: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// Whether a setting's value is at fault, be it a flag's or one that the manifest has for this host.
    #[must_use]
    pub fn is_setting(&self) -> bool {
        match self {
            Self::Config(_) => true,
            Self::App(AppError::Manifest(error)) => error.is_setting(),
            _ => false,
        }
    }

    /// Whether another try may do better although nothing changes: the system failed to read something.
    pub(crate) fn may_pass(&self) -> bool {
        use crate::{
            manifest::ResolveError,
            settings::{FileError, SourceError},
        };
        match self {
            Self::App(AppError::Manifest(error)) => error.is_whole(),
            Self::App(AppError::Resolve(ResolveError::Source(SourceError::File(error)))) => {
                matches!(error, FileError::Io { .. })
            }
            Self::App(AppError::Read { .. } | AppError::Changed(_)) | Self::System(_) => true,
            _ => false,
        }
    }
}
