//! The node's label and its startup taint. The scheduler sends pods of the runtime class to nodes with the label and without the taint.

use serde_json::{Value, json};

use crate::{
    api::Reply,
    cluster::Cluster,
    error::{Error, Result},
    json::{self, field, list, text},
    runtime::{HANDLER, LABEL, STARTUP_TAINT},
};

/// Attempts to change a node that others change, too. The kubelet writes its status every few seconds.
const ATTEMPTS: u32 = 20;

/// What the API server tells about a node.
#[derive(Debug)]
pub(crate) struct NodeObject(Value);

impl NodeObject {
    /// Reads the installer's own node.
    ///
    /// # Errors
    /// As [`Cluster::read`].
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        cluster.read(&cluster.node_path()).map(Self)
    }

    /// A node in a list.
    pub(crate) fn listed(node: Value) -> Self {
        Self(node)
    }

    /// The node's name.
    pub(crate) fn name(&self) -> &str {
        text(&self.0, "/metadata/name")
    }

    /// Whether the node has the label.
    pub(crate) fn is_labelled(&self) -> bool {
        field(&self.0, "/metadata/labels").get(LABEL).is_some_and(|label| label == "true")
    }

    /// Whether the node has the startup taint, which keeps pods of the class away whatever the label is.
    pub(crate) fn has_startup_taint(&self) -> bool {
        self.taints().any(is_startup_taint)
    }

    /// Whether the kubelet lists the runtime among the node's runtime handlers; `None` if it lists none at all: the list needs
    /// Kubernetes 1.30 and containerd 2.
    pub(crate) fn has_handler(&self) -> Option<bool> {
        let mut names =
            list(&self.0, "/status/runtimeHandlers").map(|handler| text(handler, "/name")).peekable();
        names.peek()?;
        Some(names.any(|name| name == HANDLER))
    }

    /// The runtime and its version, such as `containerd://2.1.4`; empty if the kubelet has not told it.
    pub(crate) fn runtime_version(&self) -> &str {
        text(&self.0, "/status/nodeInfo/containerRuntimeVersion")
    }

    /// Whether the kubelet reports the node as ready.
    pub(crate) fn is_ready(&self) -> bool {
        json::is_ready(&self.0)
    }

    fn taints(&self) -> impl Iterator<Item = &Value> {
        list(&self.0, "/spec/taints")
    }
}

/// Sets the label and removes the startup taint, in one request.
///
/// # Errors
/// As [`Cluster::read`]; and when others changed the node between each reading and writing.
pub(crate) fn announce(cluster: &Cluster) -> Result<()> {
    for _ in 0..ATTEMPTS {
        let node = NodeObject::of(cluster)?;
        let labels = json!({ LABEL: "true" });
        let mut patch = json!({ "metadata": { "labels": labels } });
        if node.has_startup_taint() {
            // A merge patch replaces the whole list: the version makes sure that nobody's taint is lost.
            let others: Vec<_> = node.taints().filter(|taint| !is_startup_taint(taint)).cloned().collect();
            let version = field(&node.0, "/metadata/resourceVersion");
            patch = json!({ "metadata": { "labels": labels, "resourceVersion": version }, "spec": { "taints": others } });
        }
        if let Reply::Object(_) = cluster.api.patch(&cluster.node_path(), &patch)? {
            return Ok(());
        }
    }
    Err(Error::Api {
        request: format!("PATCH {}", cluster.node_path()),
        reason: "too many conflicts".to_owned(),
    })
}

/// Removes the label of a node at `path`.
///
/// # Errors
/// When the API server refuses or cannot be reached.
pub(crate) fn withdraw(cluster: &Cluster, path: &str) -> Result<()> {
    let patch = json!({ "metadata": { "labels": { LABEL: null } } });
    cluster.api.patch(path, &patch).map(|_| ())
}

fn is_startup_taint(taint: &Value) -> bool {
    text(taint, "/key") == STARTUP_TAINT
}
