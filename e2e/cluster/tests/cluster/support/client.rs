//! Pods from which a test sends requests.

use cluster_e2e::{Namespace, Pod, eventually, image, kubectl, pods};
use serde_json::json;

/// A pod that sleeps and from which the test sends requests, in the mesh or outside, with a ServiceAccount of its own.
pub(crate) fn client(namespace: &Namespace, name: &str, meshed: bool) -> Pod {
    let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": name } });
    namespace.apply(&account.to_string());
    client_as(namespace, name, name, meshed)
}

/// As [`client`], with a ServiceAccount that exists.
pub(crate) fn client_as(namespace: &Namespace, name: &str, account: &str, meshed: bool) -> Pod {
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "Pod",
          "metadata": { "name": name, "labels": { "app": name, "sidecar.istio.io/inject": meshed.to_string() } },
          "spec": {
            "serviceAccountName": account, "terminationGracePeriodSeconds": 1,
            "securityContext": { "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "client", "image": image("busybox"), "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "3600"],
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }] } },
    ] });
    namespace.apply(&objects.to_string());
    eventually(&format!("client {name} is ready"), || {
        let found = pods(namespace.name(), &format!("app={name}"))?;
        found.into_iter().find(Pod::ready).ok_or_else(|| "not yet".to_owned())
    })
}

/// The output of busybox's wget for this URL within a pod: head and body, or the error.
pub(crate) fn ask(client: &Pod, url: &str) -> Result<String, String> {
    // By `timeout`: Debian's static busybox crashes at wget's own time limit.
    let script = format!("timeout 10 wget -S -O - '{url}' 2>&1; echo \"ended: $?\"");
    let asked = ["-n", &client.namespace, "exec", &client.name, "-c", "client", "--", "sh", "-c"];
    let told = kubectl(asked.into_iter().chain([script.as_str()])).run()?;
    if told.trim_end().ends_with("ended: 0") { Ok(told) } else { Err(told) }
}
