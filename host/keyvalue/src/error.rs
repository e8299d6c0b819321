//! What a guest is told when an operation fails.

use std::fmt::Arguments;

/// `wasi:keyvalue/store.error`: what a guest is told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host has no store of this name.
    #[error("no such store")]
    NoSuchStore,
    /// The manifest does not grant this store, which may or may not exist.
    #[error("access denied")]
    AccessDenied,
    /// Anything else; the text is for the component's log.
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
