//! What goes wrong, and the status that containerd is told.

use std::{fmt, io};

use containerd_shim_protos::ttrpc::{self, Code};

/// An error of the shim; the variant is what containerd acts upon, the text is for people.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No such container, process or image; also a signal to a process that has ended.
    #[error("{0}")]
    NotFound(String),
    /// The id is taken.
    #[error("{0}")]
    AlreadyExists(String),
    /// The state does not allow it.
    #[error("{0}")]
    FailedPrecondition(String),
    /// The request, or what it names, makes no sense.
    #[error("{0}")]
    InvalidArgument(String),
    /// Deliberately not offered.
    #[error("{0}")]
    Unimplemented(String),
    /// The operating system refused.
    #[error("{context}: {source}")]
    Io {
        /// What was tried, with its path.
        context: String,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else, such as a program that failed.
    #[error("{0}")]
    Other(String),
}

/// What the shim's functions return.
pub(crate) type Result<T> = std::result::Result<T, Error>;

impl From<Error> for ttrpc::Error {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::NotFound(_) => Code::NOT_FOUND,
            Error::AlreadyExists(_) => Code::ALREADY_EXISTS,
            Error::FailedPrecondition(_) => Code::FAILED_PRECONDITION,
            Error::InvalidArgument(_) => Code::INVALID_ARGUMENT,
            Error::Unimplemented(_) => Code::UNIMPLEMENTED,
            Error::Io { .. } | Error::Other(_) => Code::UNKNOWN,
        };
        Self::RpcStatus(ttrpc::get_status(code, error.to_string()))
    }
}

/// Says what was tried when the system refuses.
pub(crate) trait Context<T> {
    /// Adds `what`, which should name the path.
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|source| Error::Io { context: what().to_string(), source: source.into() })
    }
}
