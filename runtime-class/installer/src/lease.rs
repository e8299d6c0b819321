//! The Lease that lets one node change its containerd at a time.
//!
//! - A node holds the Lease from before its first change until it is proved. A node whose change failed keeps the Lease: the rollout
//!   stops at the first node that breaks.
//! - The Lease does not expire, so that no clock decides. Another node takes it over only if the holder's Node object is gone.
//! - A node that already holds the Lease goes on: its earlier run was interrupted, or failed.

use std::{thread, time::SystemTime};

use serde_json::{Value, json};

use crate::{
    api::Reply,
    cluster::{Cluster, node_path},
    error::Result,
    json::{set, text},
    time::micro_time,
};

/// Name of the Lease, which the manifests create.
pub const LEASE: &str = "wasi-http-installer";

/// Waits until this node holds the Lease.
///
/// # Errors
/// When the Lease does not exist, or the API server refuses or cannot be reached.
pub(crate) fn acquire(cluster: &Cluster, say: fn(&str)) -> Result<()> {
    let mut waited_for = None;
    loop {
        let mut lease = cluster.read(&path(cluster))?;
        match holder(&lease) {
            Some(holder) if holder == cluster.node => return Ok(()),
            Some(holder) if cluster.api.get(&node_path(holder))?.is_some() => {
                if waited_for.as_deref() != Some(holder) {
                    let since = text(&lease, "/spec/acquireTime");
                    say(&format!("waiting for the lease {LEASE}: node {holder} holds it since {since}"));
                    waited_for = Some(holder.to_owned());
                }
                thread::sleep(cluster.poll);
                continue;
            }
            Some(holder) => {
                say(&format!("takes over the lease {LEASE}: node {holder} does not exist any more"));
            }
            None => {}
        }
        let now = micro_time(SystemTime::now());
        let spec = json!({ "holderIdentity": cluster.node, "acquireTime": now, "renewTime": now });
        set(&mut lease, "spec", spec);
        // The server compares the resource version: of several nodes, one succeeds.
        if let Reply::Object(_) = cluster.api.replace(&path(cluster), &lease)? {
            say(&format!("holds the lease {LEASE}"));
            return Ok(());
        }
    }
}

/// Releases the Lease if this node holds it.
///
/// # Errors
/// When the API server refuses or cannot be reached.
pub(crate) fn release(cluster: &Cluster) -> Result<()> {
    loop {
        let Some(mut lease) = cluster.api.get(&path(cluster))? else { return Ok(()) };
        if holder(&lease) != Some(&cluster.node) {
            return Ok(());
        }
        set(&mut lease, "spec", json!({}));
        if let Reply::Object(_) | Reply::Missing = cluster.api.replace(&path(cluster), &lease)? {
            return Ok(());
        }
    }
}

/// Path of the Lease at the API server.
pub(crate) fn path(cluster: &Cluster) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/{LEASE}", cluster.namespace)
}

/// The node that holds the Lease.
pub(crate) fn holder(lease: &Value) -> Option<&str> {
    Some(text(lease, "/spec/holderIdentity")).filter(|holder| !holder.is_empty())
}
