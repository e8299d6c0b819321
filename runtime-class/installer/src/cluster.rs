//! The cluster that the node belongs to, as the installer's pod sees it.

use std::time::Duration;

use serde_json::Value;

use crate::{
    api::Api,
    error::{Error, Result},
};

/// The API server, and what the installer's pod knows of itself.
#[derive(Debug)]
pub struct Cluster {
    /// The API server.
    pub api: Api,
    /// Name of the node.
    pub node: String,
    /// Namespace of the installer's pod.
    pub namespace: String,
    /// Name of the installer's pod, which the probe pod takes its image from; `None` for no probe pod.
    pub pod: Option<String>,
    /// Pause before the API server is asked for the same object again.
    pub poll: Duration,
    /// Time until the node has to be proved.
    pub patience: Duration,
}

impl Cluster {
    /// Path of the node at the API server.
    pub(crate) fn node_path(&self) -> String {
        node_path(&self.node)
    }

    /// Path of the pods in the installer's namespace.
    pub(crate) fn pods_path(&self) -> String {
        format!("/api/v1/namespaces/{}/pods", self.namespace)
    }

    /// Reads an object that must exist.
    ///
    /// # Errors
    /// As [`Api::get`]; and when the object does not exist.
    pub(crate) fn read(&self, path: &str) -> Result<Value> {
        self.api.get(path)?.ok_or_else(|| Error::Api {
            request: format!("GET {path}"),
            reason: "there is no such object".to_owned(),
        })
    }
}

/// Path of a node at the API server.
pub(crate) fn node_path(name: &str) -> String {
    format!("/api/v1/nodes/{name}")
}
