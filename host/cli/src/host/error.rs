//! Why a host does not start.

use std::{io, net::SocketAddr};

use wasi_http_host_application::{AppError, LoadError};
use wasi_http_host_core::InvalidSetting;
use wasi_http_host_egress::InvalidProxy;
use wasi_http_host_keyvalue::OpenError;
use wasi_http_host_runtime::engine::EngineError;
use wasi_http_host_server::WorkerError;

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting's value is not valid.
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    /// The application cannot be served.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A proxy variable is not valid.
    #[error(transparent)]
    Proxy(#[from] InvalidProxy),
    /// A key-value store cannot be opened.
    #[error(transparent)]
    Store(OpenError),
    /// A listener cannot be bound.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The operating system's error.
        cause: io::Error,
    },
    /// A serving thread cannot start.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The operating system refused a thread or an event queue.
    #[error("cannot start a thread or an event queue: {0}")]
    System(#[from] io::Error),
}

impl From<OpenError> for StartError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Setting(error) => Self::Setting(error),
            error @ OpenError::Store { .. } => Self::Store(error),
        }
    }
}

impl From<AppError> for StartError {
    fn from(error: AppError) -> Self {
        Self::Load(error.into())
    }
}

impl From<EngineError> for StartError {
    fn from(error: EngineError) -> Self {
        Self::Load(error.into())
    }
}

impl StartError {
    /// Whether a setting's value is wrong: a flag's value, the file that a flag names, or a setting of this host in
    /// the manifest.
    #[must_use]
    pub fn is_setting(&self) -> bool {
        match self {
            Self::Setting(_) | Self::Proxy(_) => true,
            Self::Load(error) => error.is_setting(),
            _ => false,
        }
    }
}
