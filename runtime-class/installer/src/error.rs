//! The installer's errors.

use std::{io, net::SocketAddr, path::PathBuf};

/// A step of the installation or the removal failed. That step changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// Path on the node, or in the installer's container for the programs and the service account.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// containerd's configuration, or a certificate, cannot be read or must not be changed.
    #[error("{path}: {reason}")]
    Configuration {
        /// Path on the node, or of the service account's certificate in the installer's container.
        path: PathBuf,
        /// What was found, and what to do about it.
        reason: String,
    },
    /// The node's images cannot be verified.
    #[error("image policy: {0}")]
    ImagePolicy(String),
    /// The node has no known containerd. Holds the paths that were looked for.
    #[error("no containerd was found: none of {0} exists; pass the path of its configuration by --config")]
    NoContainerd(String),
    /// The node's system cannot take the shim. Holds its name.
    #[error(
        "{0} cannot take the shim: run the component in an ordinary container on these nodes (k8s/components/plain-container), and keep \
         the installer off them by a node selector"
    )]
    Unsupported(String),
    /// Several running containerds could be the kubelet's. Holds their services and configurations.
    #[error("several containerds run: {0}; pass the configuration of the kubelet's by --config")]
    Ambiguous(String),
    /// No running containerd reads the configuration that was found, so that there is none to restart.
    #[error(
        "no service of the node runs a containerd with the configuration {0}: start it, pass the configuration of the containerd \
         that runs by --config, or pass the restart command by --restart (`never` to restart it yourself)"
    )]
    NotRunning(PathBuf),
    /// The service that runs containerd is not active.
    #[error("{service} is {state} instead of active: not changing the configuration of its containerd")]
    NotActive {
        /// The systemd service.
        service: String,
        /// Its state, as `systemctl is-active` prints it, or systemctl's error.
        state: String,
    },
    /// A command on the node failed.
    #[error("{command}: {reason}")]
    Command {
        /// The command as it was run.
        command: String,
        /// The exit status and the standard error, or the system's error.
        reason: String,
    },
    /// The API server refused a request, or could not be reached.
    #[error("{request}: {reason}")]
    Api {
        /// The method and the URL.
        request: String,
        /// The status and the server's message, or the connection's error.
        reason: String,
    },
    /// The node could not be shown to run pods of the runtime class, and is not labelled.
    #[error(
        "node {node} is not proved: {reason}; it keeps the lease, so that no other node is changed: see \"A rollout that stops\" in \
         runtime-class/README.md"
    )]
    Unproved {
        /// The node's name.
        node: String,
        /// What was missing.
        reason: String,
    },
    /// The watcher's address cannot be used.
    #[error("listen on {address}: {source}")]
    Listen {
        /// The address of the metrics.
        address: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// Pods of the runtime class still run. Holds the number of their shims.
    #[error("{0} pods still use the shim: delete them or drain the node, then remove the shim again")]
    InUse(usize),
}

/// Result of a step of the installation or the removal.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Converts an I/O error, for `map_err`.
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }
}
