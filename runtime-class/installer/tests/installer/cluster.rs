//! The lease, the proof, the label and the startup taint.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use wasi_http_installer::{cluster::Cluster, error::Error};

use crate::{
    nodes::{ETC, TestNode, fixture},
    server::{LEASE, PODS, Server, State},
};

const NODE: &str = "/api/v1/nodes/node-1";
const LABEL: &str = "runtime.wasi-http/ready";
const PROBE: &str = "/api/v1/namespaces/wasi-http/pods/on-node-1-probe";

fn kubeadm() -> TestNode {
    TestNode::with(&[(ETC, &fixture("containerd-2.1-kubeadm.toml"))])
}

/// Lets the kubelet of a node list our runtime from the next restart of its containerd on, and note the restart among the changes.
fn lists_after_restart(node: &TestNode, state: Arc<Mutex<State>>, name: &str) {
    let path = format!("/api/v1/nodes/{name}");
    *node.on_restart.borrow_mut() = Some(Box::new(move || {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let restart = format!("RESTART {}", state.objects[LEASE]["spec"]["holderIdentity"]);
        state.changes.push(restart);
        state.change(&path, |node| {
            node["status"]["runtimeHandlers"] = json!([{ "name": "runc" }, { "name": "wasi-http" }]);
        });
    }));
}

fn label(server: &Server) -> Value {
    server.state().node("node-1")["metadata"]["labels"][LABEL].clone()
}

fn holder(server: &Server) -> Value {
    server.state().objects[LEASE]["spec"]["holderIdentity"].clone()
}

fn set_label(server: &Server) {
    server.state().change(NODE, |node| node["metadata"]["labels"][LABEL] = "true".into());
}

#[test]
fn a_node_is_labelled_when_it_is_proved_and_holds_the_lease_until_then() {
    let server = Server::start().with_kubelet();
    set_label(&server);
    let node = kubeadm();
    lists_after_restart(&node, server.shared(), "node-1");
    node.installation(Some(server.cluster("node-1"))).install().expect("installed");
    assert_eq!(
        server.changes(),
        [
            // The node does not list the runtime, so that it loses the label before it waits for the lease.
            format!("PATCH {NODE}"),
            format!("PUT {LEASE}"),
            "RESTART \"node-1\"".to_owned(),
            format!("DELETE {PROBE}"),
            format!("POST {PODS}"),
            format!("DELETE {PROBE}"),
            format!("PATCH {NODE}"),
            format!("PUT {LEASE}"),
        ]
    );
    assert_eq!((label(&server), holder(&server)), ("true".into(), Value::Null));
    let changes = server.state().changes.clone();
    let probe: Value = serde_json::from_str(changes[4].splitn(3, ' ').nth(2).expect("a body")).expect("JSON");
    assert_eq!(probe["spec"]["nodeName"], "node-1");
    assert_eq!(probe["spec"]["runtimeClassName"], "wasi-http-probe");
    assert_eq!(probe["spec"]["containers"][0]["image"], "registry.example.com/wasi-http-installer:9");
    assert_eq!(probe["spec"]["imagePullSecrets"], json!([{ "name": "registry" }]));
    assert_eq!(probe["metadata"]["ownerReferences"][0]["uid"], "1-2-3");

    // Nothing to change: the proof is repeated, and the lease is not needed.
    server.state().changes.clear();
    node.installation(Some(server.cluster("node-1"))).install().expect("installed again");
    let again = server.changes();
    assert!(!again.iter().any(|change| change.contains("leases")), "{again:?}");
    assert!(again.contains(&format!("POST {PODS}")), "{again:?}");
}

#[test]
fn a_node_whose_probe_fails_loses_the_label_and_keeps_the_lease() {
    let server = Server::start();
    let node = kubeadm();
    lists_after_restart(&node, server.shared(), "node-1");
    server.hook(|state, request| {
        if request.method == "GET" && state.objects.contains_key(PROBE) {
            let waiting = json!({ "reason": "CreateContainerError", "message": "no wasi-http-host" });
            state.change(PROBE, |pod| {
                pod["status"] = json!({ "containerStatuses": [{ "state": { "waiting": waiting } }] });
            });
        }
    });
    set_label(&server);
    let error = node.installation(Some(server.cluster("node-1"))).install().expect_err("not proved");
    assert!(matches!(&error, Error::Unproved { .. }), "{error}");
    for part in ["node-1", "CreateContainerError: no wasi-http-host", "lease"] {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!((label(&server), holder(&server)), (Value::Null, "node-1".into()));
    assert!(!server.state().objects.contains_key(PROBE), "the probe pod is deleted");

    // Once more, without a change of the node: it goes on, and releases the lease.
    let server = server.with_kubelet();
    node.installation(Some(server.cluster("node-1"))).install().expect("installed");
    assert_eq!((label(&server), holder(&server)), ("true".into(), Value::Null));
}

#[test]
fn a_restart_that_exits_0_is_no_proof() {
    let server = Server::start().with_kubelet();
    let node = kubeadm();
    let error =
        node.installation(Some(server.cluster("node-1"))).install().expect_err("not proved").to_string();
    assert!(error.contains("does not list the runtime handler wasi-http"), "{error}");
    assert_eq!(node.restarted(), 1);
    assert_eq!((label(&server), holder(&server)), (Value::Null, "node-1".into()));
}

#[test]
fn a_configuration_that_was_written_anew_takes_the_label_off_before_the_lease_is_free() {
    let server = Server::start();
    let node = kubeadm();
    server.state().change(NODE, |node| {
        node["status"]["runtimeHandlers"] = json!([{ "name": "runc" }, { "name": "wasi-http" }]);
    });
    let server = server.with_kubelet();
    lists_after_restart(&node, server.shared(), "node-1");
    node.installation(Some(server.cluster("node-1"))).install().expect("installed");

    node.write(ETC, &fixture("containerd-2.0-minimal.toml"));
    server.add_node("node-2");
    set_label(&server);
    server.state().change(NODE, |node| node["status"]["runtimeHandlers"] = json!([{ "name": "runc" }]));
    server.state().change(LEASE, |lease| lease["spec"] = json!({ "holderIdentity": "node-2" }));
    server.state().changes.clear();
    let mut asked = 0;
    server.hook(move |state, request| {
        if request.path == LEASE && request.method == "GET" {
            asked += 1;
            if asked == 3 {
                state.change(LEASE, |lease| lease["spec"] = json!({}));
            }
        }
        if state.objects.contains_key(PROBE) && request.path == PROBE && request.method == "GET" {
            let ready = json!([{ "type": "Ready", "status": "True" }]);
            state.change(PROBE, |pod| pod["status"]["conditions"] = ready);
        }
    });
    node.installation(Some(server.cluster("node-1"))).install().expect("installed again");
    assert_eq!(server.changes()[..2], [format!("PATCH {NODE}"), format!("PUT {LEASE}")]);
    assert_eq!(label(&server), "true");
}

#[test]
fn a_node_that_waits_for_the_lease_keeps_its_label_while_it_runs_pods() {
    let server = Server::start();
    let node = kubeadm();
    lists_after_restart(&node, server.shared(), "node-1");
    let server = server.with_kubelet();
    node.installation(Some(server.cluster("node-1"))).install().expect("installed");
    // An upgrade of the shim.
    node.write("/usr/local/bin/containerd-shim-wasi-http-v1", "an older version");
    server.state().changes.clear();
    node.installation(Some(server.cluster("node-1"))).install().expect("upgraded");
    assert_eq!(server.changes()[..2], [format!("PUT {LEASE}"), format!("PATCH {NODE}")]);
    assert_eq!(node.restarted(), 1, "an upgrade of the shim restarts nothing");
    assert_eq!((label(&server), holder(&server)), ("true".into(), Value::Null));
}

#[test]
fn installers_that_contend_for_the_lease_change_their_nodes_one_after_the_other() {
    const NODES: [&str; 4] = ["node-1", "node-2", "node-3", "node-4"];
    let server = Arc::new(Server::start().with_kubelet());
    for name in &NODES[1..] {
        server.add_node(name);
    }
    let installers = NODES.map(|name| {
        let server = Arc::clone(&server);
        thread::spawn(move || {
            let node = kubeadm();
            lists_after_restart(&node, server.shared(), name);
            let cluster = Cluster { patience: Duration::from_secs(60), ..server.cluster(name) };
            node.installation(Some(cluster)).install().expect("installed");
        })
    });
    for installer in installers {
        installer.join().expect("it ends");
    }
    let state = server.state();
    // Between a restart and the next one, the node of the first has been labelled.
    let mut labelled = Vec::new();
    let mut restarted = Vec::new();
    for change in &state.changes {
        if let Some(holder) = change.strip_prefix("RESTART ") {
            assert_eq!(labelled.len(), restarted.len(), "{:#?}", state.changes);
            restarted.push(holder.trim_matches('"').to_owned());
        } else if let Some(node) = change.strip_prefix("PATCH /api/v1/nodes/")
            && change.contains("\"true\"")
        {
            labelled.push(node.split(' ').next().unwrap_or_default().to_owned());
        }
    }
    assert_eq!(restarted, labelled, "each node restarts while it holds the lease");
    restarted.sort();
    assert_eq!(restarted, NODES);
    assert_eq!(state.objects[LEASE]["spec"], json!({}));
}

#[test]
fn the_lease_of_a_node_that_is_gone_is_taken_over() {
    let server = Server::start().with_kubelet();
    server.state().change(LEASE, |lease| lease["spec"] = json!({ "holderIdentity": "node-9" }));
    let node = kubeadm();
    lists_after_restart(&node, server.shared(), "node-1");
    node.installation(Some(server.cluster("node-1"))).install().expect("installed");
    assert_eq!(holder(&server), Value::Null);
}

#[test]
fn the_startup_taint_goes_when_the_node_is_proved_and_other_taints_stay() {
    let server = Server::start();
    set_label(&server);
    let taints = json!([
        { "key": "dedicated", "value": "wasm", "effect": "NoSchedule" },
        { "key": "runtime.wasi-http/not-ready", "effect": "NoSchedule" },
    ]);
    server.state().change(NODE, |node| node["spec"]["taints"] = taints);
    let node = kubeadm();
    lists_after_restart(&node, server.shared(), "node-1");
    // Somebody else taints the node between the installer's reading and its writing.
    let mut raced = false;
    server.hook(move |state, request| {
        if request.method == "GET" && request.path == PROBE && state.objects.contains_key(PROBE) {
            state.change(PROBE, |pod| {
                pod["status"]["conditions"] = json!([{ "type": "Ready", "status": "True" }]);
            });
        }
        if request.method == "PATCH" && !raced {
            raced = true;
            state.change(NODE, |node| {
                node["spec"]["taints"]
                    .as_array_mut()
                    .expect("a list")
                    .push(json!({ "key": "late", "effect": "NoExecute" }));
            });
        }
    });
    node.installation(Some(server.cluster("node-1"))).install().expect("installed");
    let keys: Vec<_> = server.state().node("node-1")["spec"]["taints"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|taint| taint["key"].clone())
        .collect();
    assert_eq!(keys, ["dedicated", "late"]);
    // The taint kept pods away, so that the label of the node's template could stay.
    let patches: Vec<_> =
        server.state().changes.iter().filter(|change| change.starts_with("PATCH")).cloned().collect();
    assert!(!patches.iter().any(|patch| patch.contains("null")), "{patches:?}");
    assert_eq!(patches.len(), 2, "the first one is refused: {patches:?}");
}

#[test]
fn a_kubelet_that_lists_no_handlers_leaves_the_proof_to_the_probe() {
    let server = Server::start().with_kubelet();
    server.state().change(NODE, |node| node["status"]["runtimeHandlers"] = Value::Null);
    let node = kubeadm();
    node.installation(Some(server.cluster("node-1"))).install().expect("installed");
    assert_eq!(label(&server), "true");

    let cluster = Cluster { pod: None, ..server.cluster("node-1") };
    let error = node.installation(Some(cluster)).install().expect_err("not proved").to_string();
    assert!(error.contains("POD_NAME"), "{error}");
    assert_eq!(label(&server), Value::Null, "what is not proved any more loses the label");
}

#[test]
fn a_removal_takes_the_label_off_and_restarts_under_the_lease() {
    let server = Server::start().with_kubelet();
    let node = kubeadm();
    lists_after_restart(&node, server.shared(), "node-1");
    let before = node.files();
    node.installation(Some(server.cluster("node-1"))).install().expect("installed");
    node.write("/var/lib/wasi-http/cache/0123/component.cwasm", "compiled code");
    server.state().changes.clear();
    let state = server.shared();
    *node.on_restart.borrow_mut() = Some(Box::new(move || {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.changes.push("RESTART".to_owned());
        state.change(NODE, |node| node["status"]["runtimeHandlers"] = json!([{ "name": "runc" }]));
    }));
    node.installation(Some(server.cluster("node-1"))).remove(Duration::ZERO).expect("removed");
    let expected =
        [format!("PATCH {NODE}"), format!("PUT {LEASE}"), "RESTART".to_owned(), format!("PUT {LEASE}")];
    assert_eq!(server.changes(), expected);
    assert_eq!((label(&server), holder(&server)), (Value::Null, Value::Null));
    assert_eq!(node.files(), before, "the compiled code is gone, too");

    // A node without the runtime is not restarted, and needs no lease.
    server.state().changes.clear();
    node.installation(Some(server.cluster("node-1"))).remove(Duration::ZERO).expect("removed again");
    assert_eq!(server.changes(), [format!("PATCH {NODE}")]);
}
