//! What all containers of a shim share.

use std::{path::PathBuf, sync::Arc};

use crate::{events::Events, reaper::Reaper};

/// The node, as far as the shim needs it.
pub(crate) struct Node {
    /// containerd's namespace, such as `k8s.io`.
    pub(crate) namespace: String,
    /// containerd's gRPC socket.
    pub(crate) address: String,
    pub(crate) events: Events,
    pub(crate) reaper: Arc<Reaper>,
    /// The program that serves components: `wasi-http-host`, beside the shim.
    pub(crate) host: PathBuf,
    /// Where compiled code is kept.
    pub(crate) cache: PathBuf,
}
