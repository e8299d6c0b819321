//! Watches all nodes of the cluster, in a pod without rights on a node: takes the label off a node whose kubelet does not list the runtime
//! any more, and has the installer's pod there made anew. What it sees is exported to Prometheus.

use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::{
    cluster::{Cluster, node_path},
    error::Result,
    exporter::Figures,
    json::{field, is_ready, text},
    label::{self, NodeObject},
    lease, time,
};

/// Objects of a page of a list. Bounds the size of a response.
const PAGE: usize = 100;
/// Pages of a list: more nodes than Kubernetes supports.
const PAGES_MAX: usize = 200;
/// The label of the installer's pods.
const INSTALLER: &str = "app%3Dwasi-http-installer";

/// Watches until the process is stopped. An error of a turn is said and counted, and the next turn tries again.
pub fn watch(cluster: &Cluster, figures: &Arc<Figures>, pause: Duration, say: fn(&str)) -> ! {
    loop {
        let turned = turn(cluster, figures, say);
        figures.turned(turned.is_ok());
        if let Err(error) = turned {
            say(&error.to_string());
        }
        thread::sleep(pause);
    }
}

/// Looks at all nodes once.
///
/// # Errors
/// When the API server refuses a request or cannot be reached.
pub fn turn(cluster: &Cluster, figures: &Figures, say: fn(&str)) -> Result<()> {
    // The installer's pods that are ready, by their nodes.
    let mut installed = BTreeMap::new();
    let mut installing = 0;
    each(cluster, &format!("{}?labelSelector={INSTALLER}", cluster.pods_path()), |pod| {
        if is_ready(&pod) && field(&pod, "/metadata/deletionTimestamp").is_null() {
            installed
                .insert(text(&pod, "/spec/nodeName").to_owned(), text(&pod, "/metadata/name").to_owned());
        } else {
            installing += 1;
        }
        Ok(())
    })?;
    let mut ready = 0;
    each(cluster, "/api/v1/nodes?", |node| {
        let node = NodeObject::listed(node);
        if !node.is_labelled() {
            return Ok(());
        }
        // The label of an autoscaled node precedes the runtime. Its startup taint keeps pods away.
        if node.has_handler() != Some(false) || node.has_startup_taint() {
            ready += 1;
            return Ok(());
        }
        say(&format!(
            "removes the label of node {}: its kubelet does not list the runtime any more",
            node.name()
        ));
        label::withdraw(cluster, &node_path(node.name()))?;
        figures.lost();
        // The pod's installer would run again only after a restart of the node.
        if let Some(pod) = installed.get(node.name()) {
            cluster.api.delete(&format!("{}/{pod}", cluster.pods_path()))?;
        }
        Ok(())
    })?;
    let lease = cluster.api.get(&lease::path(cluster))?.unwrap_or_default();
    let since = lease::holder(&lease).and_then(|_| time::seconds(text(&lease, "/spec/acquireTime")));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    figures.seen(ready, installing, since.map_or(0, |since| now.saturating_sub(since)));
    Ok(())
}

/// Calls `use_object` for each object of a list.
fn each(cluster: &Cluster, path: &str, mut use_object: impl FnMut(Value) -> Result<()>) -> Result<()> {
    let mut next = String::new();
    for _ in 0..PAGES_MAX {
        let joint = if path.ends_with('?') { "" } else { "&" };
        let mut list = cluster.read(&format!("{path}{joint}limit={PAGE}{next}"))?;
        let items =
            list.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
        items.into_iter().try_for_each(&mut use_object)?;
        match text(&list, "/metadata/continue") {
            "" => break,
            token => next = format!("&continue={token}"),
        }
    }
    Ok(())
}
