//! The shim's errors and their ttrpc status codes.

use std::{fmt, io};

use containerd_shim_protos::ttrpc::{self, Code};

/// An error of the shim. containerd acts on the variant, which becomes a status code. The text is for people.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// There is no such container, process or cgroup, or the process has exited.
    #[error("{0}")]
    NotFound(String),
    /// The id is in use.
    #[error("{0}")]
    AlreadyExists(String),
    /// The state of the container or the process does not allow the call.
    #[error("{0}")]
    FailedPrecondition(String),
    /// The request, or a file that it names, is invalid.
    #[error("{0}")]
    InvalidArgument(String),
    /// The shim does not offer the feature.
    #[error("{0}")]
    Unimplemented(String),
    /// A system call failed.
    #[error("{context}: {source}")]
    Io {
        /// The operation and its path.
        context: String,
        source: io::Error,
    },
    /// Any other failure, such as that of a program.
    #[error("{0}")]
    Other(String),
}

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

/// Adds the operation to an I/O error.
pub(crate) trait Context<T> {
    /// Converts an error to [`Error::Io`]. `what` names the operation and its path.
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for std::result::Result<T, E> {
    fn context<D: fmt::Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|source| Error::Io { context: what().to_string(), source: source.into() })
    }
}
