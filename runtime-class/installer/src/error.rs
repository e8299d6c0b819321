//! What can go wrong on a node.

use std::{io, path::PathBuf};

/// A failure; nothing was changed by the step that reports it. The message names the file or the command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the node could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// As the node sees it.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A configuration of containerd that this program must not touch, or cannot read.
    #[error("{path}: {reason}")]
    Configuration {
        /// As the node sees it.
        path: PathBuf,
        /// What was found, and what to do about it.
        reason: String,
    },
    /// No containerd that this program knows.
    #[error("no containerd was found: none of {0} exists; name its configuration by --config")]
    NoContainerd(String),
    /// A command on the node failed.
    #[error("{command}: {reason}")]
    Command {
        /// The command as it was run.
        command: String,
        /// Its exit code or the system's answer, and what it printed.
        reason: String,
    },
    /// The API server refused the node's label, or could not be asked.
    #[error("label of node {node}: {reason}")]
    Label {
        /// The node's name.
        node: String,
        /// The answer.
        reason: String,
    },
    /// Pods of the runtime class are still there, so that the shim cannot go.
    #[error("{0} pods still run by the shim: delete them, or drain the node, and remove it then")]
    InUse(usize),
}

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// For `map_err` where a file is read or written.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
