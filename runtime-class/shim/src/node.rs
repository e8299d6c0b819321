//! Settings and services of the node that all containers of the pod share.

use std::{path::PathBuf, sync::Arc};

use crate::{events::Events, reaper::Reaper};

/// Passed to everything that creates containers.
pub(crate) struct Node {
    /// containerd's namespace of the pod, such as `k8s.io`.
    pub(crate) namespace: String,
    /// Path of containerd's gRPC socket.
    pub(crate) address: String,
    pub(crate) events: Events,
    pub(crate) reaper: Arc<Reaper>,
    /// Path of `wasi-http-host`, the program that serves components. It lies beside the shim.
    pub(crate) host: PathBuf,
    /// Directory of the cache for compiled code.
    pub(crate) cache: PathBuf,
}
