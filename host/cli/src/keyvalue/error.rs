use std::fmt::Arguments;
use wasmtime::component::{ComponentType, Lower};

/// `wasi:keyvalue/store.error`: what a guest is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, ComponentType, Lower)]
#[component(variant)]
pub enum Error {
    /// The host has no store of this name.
    #[component(name = "no-such-store")]
    #[error("no such store")]
    NoSuchStore,
    /// The manifest does not grant this store, which may or may not exist.
    #[component(name = "access-denied")]
    #[error("access denied")]
    AccessDenied,
    /// Anything else; the text is for the component's log.
    #[component(name = "other")]
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// [`Error::Other`] from `format_args!`.
    #[must_use]
    pub fn other(message: Arguments<'_>) -> Self {
        Self::Other(message.to_string())
    }
}
