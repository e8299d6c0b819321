//! The installer's DaemonSet with its own rights at the API server, on nodes whose file system is an empty directory. The installer's own
//! tests cover real files of nodes.

use cluster_e2e::{Kustomization, LONG, Namespace, Pod, eventually_within, image, kubectl, pods};
use serde_json::{Value, json};

const LABEL: &str = "runtime.wasi-http/ready";
const NAME: &str = "wasi-http-installer";
/// Another name than the real installer's, which keeps its rights.
const RIGHTS: &str = "e2e-wasi-http-installer";
const CONFIGURATION: &str =
    include_str!("../../../../runtime-class/installer/tests/fixtures/containerd-2.1-kubeadm.toml");

/// The nodes that are ready for the runtime class. Their labels are restored when this value is dropped.
struct ReadyNodes(Vec<String>);

impl ReadyNodes {
    fn now() -> Self {
        Self(Self::labelled())
    }

    fn labelled() -> Vec<String> {
        let label = format!("{LABEL}=true");
        kubectl(["get", "nodes", "-l", &label, "-o", "name"]).must().lines().map(str::to_owned).collect()
    }
}

impl Drop for ReadyNodes {
    fn drop(&mut self) {
        let label = format!("{LABEL}=true");
        for node in &self.0 {
            if let Err(refusal) = kubectl(["label", "--overwrite", node, &label]).run() {
                eprintln!("{node} has lost its label: {refusal}");
            }
        }
        let _ = kubectl(["delete", "clusterrole,clusterrolebinding", RIGHTS, "--ignore-not-found"]).run();
    }
}

fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": image("busybox"), "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-euc", script], "securityContext": { "runAsUser": 0 },
        "volumeMounts": [{ "name": "node", "mountPath": "/host" }, { "name": "before", "mountPath": "/before" }],
    })
}

/// Installs as the manifest says, checks the node, and removes.
fn daemon_set(namespace: &str) -> Kustomization {
    let prepare = "mkdir -p /host/etc/containerd && cp /before/config.toml /host/etc/containerd/config.toml";
    let keep = "cp -R /host/etc/containerd /host/seen && cp -R /host/usr/local/bin /host/seen/bin";
    let init = "/spec/template/spec/initContainers";
    let never = json!({ "name": "INSTALLER_RESTART", "value": "never" });
    let node_name =
        json!({ "name": "NODE_NAME", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } });
    let remove = json!({
        "name": "remove", "image": image(NAME), "imagePullPolicy": "IfNotPresent", "args": ["remove"],
        "env": [node_name, never], "securityContext": { "runAsUser": 0 },
        "volumeMounts": [{ "name": "node", "mountPath": "/host" }],
    });
    let changes = json!([
        { "op": "add", "path": format!("{init}/0/env/-"), "value": never },
        { "op": "add", "path": format!("{init}/0"), "value": container("prepare", prepare) },
        { "op": "add", "path": format!("{init}/-"), "value": container("keep", keep) },
        { "op": "add", "path": format!("{init}/-"), "value": remove },
        { "op": "add", "path": "/spec/template/spec/containers/-", "value": container("look", "sleep 86400") },
        { "op": "replace", "path": "/spec/template/spec/volumes", "value": [
            { "name": "node", "emptyDir": {} }, { "name": "before", "configMap": { "name": "before" } },
        ] },
        // Otherwise, the removal would wait for the pods of other tests.
        { "op": "replace", "path": "/spec/template/spec/hostPID", "value": false },
    ]);
    let rights = json!([{ "op": "replace", "path": "/metadata/name", "value": RIGHTS }]);
    let binding = json!([
        { "op": "replace", "path": "/metadata/name", "value": RIGHTS },
        { "op": "replace", "path": "/roleRef/name", "value": RIGHTS },
        { "op": "replace", "path": "/subjects/0/namespace", "value": namespace },
    ]);
    Kustomization::on("runtime-class/installer/deploy")
        .without("Namespace", "wasi-http")
        .image("registry.example.com/wasi-http-installer", &image(NAME))
        .patch("ClusterRoleBinding", NAME, &binding)
        .patch("ClusterRole", NAME, &rights)
        .patch("DaemonSet", NAME, &changes)
}

#[test]
fn the_installer_has_the_rights_it_needs_and_leaves_a_node_as_it_was() {
    let namespace =
        Namespace::with_labels("installer", &[("pod-security.kubernetes.io/enforce", "privileged")]);
    let before = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "before" },
        "data": { "config.toml": CONFIGURATION } });
    namespace.apply(&before.to_string());
    let nodes = ReadyNodes::now();
    daemon_set(namespace.name()).apply(&namespace);
    let installers = eventually_within(LONG, "the installer is done on every node", || {
        let set = namespace.kubectl(["get", "daemonset", NAME]).json()?;
        let found = pods(namespace.name(), &format!("app={NAME}"))?;
        if let Some(reason) = found.iter().find_map(Pod::hopeless) {
            return Err(reason);
        }
        let wanted = &set["status"]["desiredNumberScheduled"];
        let ready = found.iter().filter(|pod| pod.ready()).count();
        if ready > 0 && *wanted == json!(ready) { Ok(found) } else { Err(format!("{ready} of {wanted}")) }
    });
    for pod in &installers {
        let said = |container: &str| namespace.kubectl(["logs", &pod.name, "-c", container]).must();
        let node = pod.text("/spec/nodeName");
        assert!(said("install").contains(&format!("labels node {node}")), "{}", said("install"));
        assert!(said("remove").contains(&format!("removing the label of node {node}")), "{}", said("remove"));
        let object = kubectl(["get", "node", node]).json().unwrap();
        assert_eq!(object["metadata"]["labels"].get(LABEL), None, "{node}");

        let look = |script: &str| {
            namespace.kubectl(["exec", &pod.name, "-c", "look", "--", "sh", "-euc", script]).must()
        };
        let installed = look("cat /host/seen/config.toml; ls /host/seen/bin");
        for part in
            ["runtimes.wasi-http]", "SystemdCgroup = true", "containerd-shim-wasi-http-v1", "wasi-http-host"]
        {
            assert!(installed.contains(part), "{installed}");
        }
        assert_eq!(look("cat /host/etc/containerd/config.toml"), CONFIGURATION);
        assert_eq!(look("find /host/etc /host/usr -type f"), "/host/etc/containerd/config.toml\n");
    }
    let before = nodes.0.clone();
    drop(nodes);
    assert_eq!(ReadyNodes::labelled(), before);
}
