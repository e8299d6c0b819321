//! Proves that the node runs pods of the runtime class, before the node is labelled.

use std::{thread, time::Instant};

use serde_json::{Value, json};

use crate::{
    api::Reply,
    cluster::Cluster,
    error::{Error, Result},
    json::{field, is_ready, list, text},
    label::NodeObject,
    runtime::{HANDLER, PROBE, PROBE_CLASS},
};

/// The probe pod ends after this time, if nobody deletes it.
const PROBE_SECONDS: u64 = 600;

/// Waits until the kubelet lists the runtime among the node's handlers, and until a probe pod on the node is ready.
///
/// # Errors
/// [`Error::Unproved`] when either does not happen within the cluster's patience; else the API server's refusal.
pub(crate) fn prove(cluster: &Cluster, say: fn(&str)) -> Result<()> {
    let deadline = Instant::now() + cluster.patience;
    let listed = loop {
        match NodeObject::of(cluster)?.has_handler() {
            Some(true) => break true,
            // Also for a moment after a start of the kubelet.
            None if cluster.pod.is_some() || Instant::now() >= deadline => break false,
            Some(false) if Instant::now() >= deadline => {
                return Err(unproved(
                    cluster,
                    format!("the kubelet does not list the runtime handler {HANDLER}"),
                ));
            }
            None | Some(false) => thread::sleep(cluster.poll),
        }
    };
    match (&cluster.pod, listed) {
        (Some(pod), _) => run_probe(cluster, pod, deadline),
        (None, true) => Ok(()),
        (None, false) => {
            say("the kubelet lists no runtime handlers (Kubernetes 1.30 and containerd 2 do)");
            Err(unproved(
                cluster,
                "without that list, only a probe pod can prove it: set POD_NAME".to_owned(),
            ))
        }
    }
}

/// Waits until the node is ready and its kubelet does not list the runtime any more.
///
/// # Errors
/// [`Error::Unproved`] when that does not happen within the cluster's patience; else the API server's refusal.
pub(crate) fn prove_removal(cluster: &Cluster) -> Result<()> {
    let deadline = Instant::now() + cluster.patience;
    loop {
        let node = NodeObject::of(cluster)?;
        if node.is_ready() && node.has_handler() != Some(true) {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(unproved(
                cluster,
                "after the removal, it is not ready, or lists the runtime handler still".to_owned(),
            ));
        }
        thread::sleep(cluster.poll);
    }
}

/// Runs the probe pod until it is ready, and deletes it.
fn run_probe(cluster: &Cluster, installer: &str, deadline: Instant) -> Result<()> {
    let own = cluster.read(&format!("{}/{installer}", cluster.pods_path()))?;
    let name = format!("{installer}-probe");
    let path = format!("{}/{name}", cluster.pods_path());
    // An interrupted run leaves its pod.
    cluster.api.delete(&path)?;
    let probe = probe_pod(cluster, &own, &name);
    let (mut created, mut turn) = (false, 0_u64);
    let result = loop {
        // The first turn creates the pod, and the second one reads it, however short the patience is.
        let last = turn > 1 && Instant::now() >= deadline;
        turn += 1;
        let pod = cluster.api.get(&path)?.unwrap_or_default();
        if created && is_ready(&pod) {
            break Ok(());
        }
        if last || created && text(&pod, "/status/phase") == "Failed" {
            break Err(unproved(cluster, format!("the probe pod {name} is not ready: {}", reason(&pod))));
        }
        if pod.is_null() && !created {
            // A pod of the same name that has just ended makes this a conflict: then the next turn tries again.
            created = matches!(cluster.api.create(&cluster.pods_path(), &probe)?, Reply::Object(_));
        }
        thread::sleep(cluster.poll);
    };
    // The pod's end is bounded: an error here must not hide the result.
    let deleted = cluster.api.delete(&path);
    result.and(deleted)
}

/// The probe pod: the component of the installer's own image, which is on the node already.
fn probe_pod(cluster: &Cluster, own: &Value, name: &str) -> Value {
    let image = field(own, "/spec/containers/0/image");
    let owner = json!({
        "apiVersion": "v1", "kind": "Pod", "name": text(own, "/metadata/name"), "uid": text(own, "/metadata/uid"),
    });
    let resources = json!({ "cpu": "1m", "memory": "32Mi" });
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": PROBE_CLASS }, "ownerReferences": [owner] },
        "spec": {
            // Not by the scheduler: the node is not labelled, and may be tainted.
            "nodeName": cluster.node,
            "runtimeClassName": PROBE_CLASS,
            "restartPolicy": "Never",
            "activeDeadlineSeconds": PROBE_SECONDS,
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "imagePullSecrets": list(own, "/spec/imagePullSecrets").collect::<Vec<_>>(),
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "probe", "image": image, "imagePullPolicy": "IfNotPresent", "command": [PROBE],
                "readinessProbe": { "httpGet": { "path": "/", "port": 8080 }, "periodSeconds": 1 },
                "resources": { "requests": resources, "limits": { "memory": "128Mi" } },
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "runAsNonRoot": true, "runAsUser": 1000, "runAsGroup": 1000,
                    "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
                },
            }],
        },
    })
}

/// Why a pod is not ready, as far as its status tells.
fn reason(pod: &Value) -> String {
    let state = "/status/containerStatuses/0/state";
    let mut told = [format!("{state}/waiting"), format!("{state}/terminated"), "/status".to_owned()]
        .into_iter()
        .filter_map(|at| {
            let [reason, message] =
                ["reason", "message"].map(|key| text(field(pod, &at), &format!("/{key}")).to_owned());
            (!reason.is_empty() || !message.is_empty()).then(|| format!("{reason}: {message}"))
        });
    told.next().unwrap_or_else(|| format!("its phase is {:?}", text(pod, "/status/phase")))
}

fn unproved(cluster: &Cluster, reason: String) -> Error {
    Error::Unproved { node: cluster.node.clone(), reason }
}
