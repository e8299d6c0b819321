//! The installer's DaemonSet and the watcher with their own rights at the API server, on nodes whose file system is an empty directory. The
//! installer's own tests cover real files of nodes.

use std::time::Duration;

use cluster_e2e::{
    Access, Kustomization, LONG, Namespace, Pod, eventually, eventually_within, image, kubectl, pods, scrape,
};
use serde_json::{Value, json};

const LABEL: &str = "runtime.wasi-http/ready";
const NAME: &str = "wasi-http-installer";
const WATCHER: &str = "wasi-http-watcher";
/// Other names than those of the real installer, which keeps its rights.
const RIGHTS: [(&str, &str); 2] = [(NAME, "e2e-wasi-http-installer"), (WATCHER, "e2e-wasi-http-watcher")];
/// The admission policies, and their names in the test.
const POLICIES: [(&str, &str); 3] = [
    ("wasi-http-installer-node", "e2e-wasi-http-installer-node"),
    ("wasi-http-installer-lease", "e2e-wasi-http-installer-lease"),
    ("wasi-http-installer-pod", "e2e-wasi-http-installer-pod"),
];
const PROBE_CLASS: &str = "wasi-http-probe";
const CONFIGURATION: &str =
    include_str!("../../../../runtime-class/installer/tests/fixtures/containerd-2.1-kubeadm.toml");

/// The nodes that are ready for the runtime class. When this value is dropped, their labels are restored, and the objects outside
/// namespaces are gone.
struct ReadyNodes {
    nodes: Vec<String>,
    /// Whether the class of the probe pod was there before.
    has_probe_class: bool,
}

impl ReadyNodes {
    fn now() -> Self {
        let class = kubectl(["get", "runtimeclass", PROBE_CLASS, "--ignore-not-found", "-o", "name"]).must();
        Self { nodes: Self::labelled(), has_probe_class: !class.trim().is_empty() }
    }

    fn labelled() -> Vec<String> {
        let label = format!("{LABEL}=true");
        kubectl(["get", "nodes", "-l", &label, "-o", "name"]).must().lines().map(str::to_owned).collect()
    }
}

impl Drop for ReadyNodes {
    fn drop(&mut self) {
        // The watcher and the policies first: they would undo what follows.
        let kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy";
        for (_, policy) in POLICIES {
            let _ = kubectl(["delete", kinds, policy, "--ignore-not-found"]).run();
        }
        for (_, rights) in RIGHTS {
            let _ = kubectl(["delete", "clusterrole,clusterrolebinding", rights, "--ignore-not-found"]).run();
        }
        if !self.has_probe_class {
            let _ = kubectl(["delete", "runtimeclass", PROBE_CLASS, "--ignore-not-found"]).run();
        }
        let label = format!("{LABEL}=true");
        for node in &self.nodes {
            if let Err(refusal) = kubectl(["label", "--overwrite", node, &label]).run() {
                eprintln!("{node} has lost its label: {refusal}");
            }
        }
    }
}

/// Node objects without a machine, deleted when this value is dropped. No pod can be scheduled to them: they have room for none.
struct FakeNodes(Vec<&'static str>);

impl FakeNodes {
    /// Creates nodes whose kubelets, if there were any, would list our runtime.
    fn create(names: &[&'static str]) -> Self {
        let status =
            json!({ "status": { "runtimeHandlers": [{ "name": "runc" }, { "name": "wasi-http" }] } });
        // The nodes of an aborted run.
        let nodes = Self(names.to_vec());
        nodes.delete();
        for name in names {
            let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name } });
            kubectl(["create", "-f", "-"]).input(node.to_string()).must();
            let patch = status.to_string();
            kubectl(["patch", "node", name, "--subresource=status", "--type=merge", "-p", &patch]).must();
        }
        nodes
    }

    fn delete(&self) {
        for name in &self.0 {
            let _ = kubectl(["delete", "node", name, "--ignore-not-found"]).run();
        }
    }
}

impl Drop for FakeNodes {
    fn drop(&mut self) {
        self.delete();
    }
}

fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": image("busybox"), "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-euc", script], "securityContext": { "runAsUser": 0 },
        "volumeMounts": [{ "name": "node", "mountPath": "/host" }, { "name": "before", "mountPath": "/before" }],
    })
}

/// The objects of the manifest, with an installer that installs as the manifest says, checks the node, and removes.
fn objects(namespace: &Namespace) -> String {
    rendered(with_removal(), namespace)
}

/// The objects of the manifest without the pods.
fn rights(namespace: &Namespace) -> String {
    let kustomization = Kustomization::on("runtime-class/installer/deploy");
    rendered(kustomization.without("DaemonSet", NAME).without("Deployment", WATCHER), namespace)
}

fn with_removal() -> Kustomization {
    let prepare = "mkdir -p /host/etc/containerd && cp /before/config.toml /host/etc/containerd/config.toml";
    let keep = "cp -R /host/etc/containerd /host/seen && cp -R /host/usr/local/bin /host/seen/bin";
    let init = "/spec/template/spec/initContainers";
    let volumes = "/spec/template/spec/volumes";
    let never = json!({ "name": "INSTALLER_RESTART", "value": "never" });
    let of_pod =
        |name: &str, path: &str| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } });
    let remove = json!({
        "name": "remove", "image": image(NAME), "imagePullPolicy": "IfNotPresent", "args": ["remove"],
        "env": [of_pod("NODE_NAME", "spec.nodeName"), of_pod("POD_NAMESPACE", "metadata.namespace"), never],
        "securityContext": { "runAsUser": 0 },
        "volumeMounts": [
            { "name": "node", "mountPath": "/host" },
            { "name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true },
        ],
    });
    let changes = json!([
        { "op": "add", "path": format!("{init}/0/env/-"), "value": never },
        { "op": "add", "path": format!("{init}/0"), "value": container("prepare", prepare) },
        { "op": "add", "path": format!("{init}/-"), "value": container("keep", keep) },
        { "op": "add", "path": format!("{init}/-"), "value": remove },
        { "op": "add", "path": "/spec/template/spec/containers/-", "value": container("look", "sleep 86400") },
        // The volume `token` stays as it is.
        { "op": "replace", "path": format!("{volumes}/0"), "value": { "name": "node", "emptyDir": {} } },
        { "op": "add", "path": format!("{volumes}/-"), "value": { "name": "before", "configMap": { "name": "before" } } },
        // Otherwise, the removal would wait for the pods of other tests.
        { "op": "replace", "path": "/spec/template/spec/hostPID", "value": false },
    ]);
    Kustomization::on("runtime-class/installer/deploy")
        .image("registry.example.com/wasi-http-installer", &image(NAME))
        .patch("DaemonSet", NAME, &changes)
}

/// Renders the objects for a namespace, with other names outside of namespaces.
fn rendered(kustomization: Kustomization, namespace: &Namespace) -> String {
    let mut kustomization = kustomization.without("Namespace", "wasi-http");
    let rename = |name: &str| json!({ "op": "replace", "path": "/metadata/name", "value": name });
    for (name, other) in RIGHTS {
        let binding = json!([
            rename(other),
            { "op": "replace", "path": "/roleRef/name", "value": other },
            { "op": "replace", "path": "/subjects/0/namespace", "value": namespace.name() },
        ]);
        let of_namespace =
            json!([{ "op": "replace", "path": "/subjects/0/namespace", "value": namespace.name() }]);
        kustomization = kustomization
            .patch("ClusterRoleBinding", name, &binding)
            .patch("ClusterRole", name, &json!([rename(other)]))
            .patch("RoleBinding", name, &of_namespace);
    }
    for (name, other) in POLICIES {
        let binding = json!([rename(other), { "op": "replace", "path": "/spec/policyName", "value": other }]);
        kustomization = kustomization.patch("ValidatingAdmissionPolicyBinding", name, &binding).patch(
            "ValidatingAdmissionPolicy",
            name,
            &json!([rename(other)]),
        );
    }
    // The policies name the service accounts of the real namespace.
    let accounts = format!("system:serviceaccount:{}:", namespace.name());
    kustomization
        .render(namespace.name(), Some(namespace.name()))
        .replace("system:serviceaccount:wasi-http:", &accounts)
}

fn set_up(name: &str) -> Namespace {
    let namespace = Namespace::with_labels(name, &[("pod-security.kubernetes.io/enforce", "privileged")]);
    let before = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "before" },
        "data": { "config.toml": CONFIGURATION } });
    namespace.apply(&before.to_string());
    namespace
}

/// The installer's pods, when they are ready on all nodes.
fn installed(namespace: &Namespace) -> Vec<Pod> {
    eventually_within(LONG, "the installer is done on every node", || {
        let set = namespace.kubectl(["get", "daemonset", NAME]).json()?;
        let found = pods(namespace.name(), &format!("app={NAME}"))?;
        if let Some(reason) = found.iter().find_map(Pod::hopeless) {
            return Err(reason);
        }
        let wanted = &set["status"]["desiredNumberScheduled"];
        let ready = found.iter().filter(|pod| pod.ready()).count();
        if ready > 0 && *wanted == json!(ready) { Ok(found) } else { Err(format!("{ready} of {wanted}")) }
    })
}

#[test]
fn the_installer_has_the_rights_it_needs_and_leaves_a_node_as_it_was() {
    let _access = Access::exclusive();
    let namespace = set_up("installer");
    let nodes = ReadyNodes::now();
    namespace.apply(&objects(&namespace));
    for pod in &installed(&namespace) {
        let said = |container: &str| namespace.kubectl(["logs", &pod.name, "-c", container]).must();
        let node = pod.text("/spec/nodeName");
        let install = said("install");
        for part in ["holds the lease wasi-http-installer", &format!("labels node {node}")] {
            assert!(install.contains(part), "{install}");
        }
        assert!(said("remove").contains(&format!("removes the label of node {node}")), "{}", said("remove"));
        let object = kubectl(["get", "node", node]).json().unwrap();
        assert_eq!(object["metadata"]["labels"].get(LABEL), None, "{node}");

        let look = |script: &str| {
            namespace.kubectl(["exec", &pod.name, "-c", "look", "--", "sh", "-euc", script]).must()
        };
        let seen = look("cat /host/seen/config.toml; ls /host/seen/bin");
        for part in
            ["runtimes.wasi-http]", "SystemdCgroup = true", "containerd-shim-wasi-http-v1", "wasi-http-host"]
        {
            assert!(seen.contains(part), "{seen}");
        }
        assert_eq!(look("cat /host/etc/containerd/config.toml"), CONFIGURATION);
        assert_eq!(look("find /host/etc /host/usr -type f"), "/host/etc/containerd/config.toml\n");
        assert_eq!(
            look("ls /var/run/secrets 2>/dev/null || true"),
            "",
            "a container that stays has no token"
        );
        // The probe pod has been ready, and is gone.
        let events =
            namespace.kubectl(["get", "events", "--field-selector", "reason=Started", "-o", "json"]).must();
        assert!(events.contains(&format!("{}-probe", pod.name)), "no probe pod has started: {events}");
    }
    eventually("the probe pods are gone", || {
        let left = pods(namespace.name(), &format!("app={PROBE_CLASS}"))?;
        if left.is_empty() { Ok(()) } else { Err(format!("{} are left", left.len())) }
    });
    let lease = namespace.kubectl(["get", "lease", NAME]).json().unwrap();
    assert_eq!(lease["spec"].get("holderIdentity"), None, "{lease}");
    eventually("the watcher exports its series", || {
        let watchers = pods(namespace.name(), &format!("app={WATCHER}"))?;
        let samples = scrape(watchers.iter().find(|pod| pod.ready()).ok_or("none is ready")?, 9100)?;
        let known = ["wasi_http_installer_nodes_ready", "wasi_http_installer_lease_held_seconds"];
        if known.iter().all(|name| samples.has(name)) { Ok(()) } else { Err("not yet".to_owned()) }
    });
    let before = nodes.nodes.clone();
    drop(nodes);
    assert_eq!(ReadyNodes::labelled(), before);
}

#[test]
fn the_installers_token_changes_its_own_node_and_nothing_else() {
    let _access = Access::exclusive();
    let namespace = set_up("installer-rights");
    let nodes = ReadyNodes::now();
    let fake = FakeNodes::create(&["e2e-own", "e2e-other"]);
    namespace.apply(&rights(&namespace));
    // The rights of the pod's token, without the token: impersonated, with the node that a projected token names.
    let account = |name: &str| format!("--as=system:serviceaccount:{}:{name}", namespace.name());
    let own = "--as-user-extra=authentication.kubernetes.io/node-name=e2e-own";
    let label = |value: &Value| json!({ "metadata": { "labels": { LABEL: value } } }).to_string();
    let patch = |flags: &[&str], node: &str, patch: &str| {
        let flags = flags.iter().copied().chain(["patch", "node", node, "--type=merge", "-p", patch]);
        kubectl(flags).run()
    };
    let installer = account(NAME);
    let set = label(&json!("true"));
    eventually("the rights are known", || patch(&[&installer, own], "e2e-own", &set));
    let denied = |result: Result<String, String>, part: &str| {
        let refusal = result.expect_err(part);
        assert!(refusal.contains(part), "{refusal}");
    };
    // A policy takes effect a moment after its creation.
    eventually("the policy is enforced", || match patch(&[&installer, own], "e2e-other", &set) {
        Err(refusal) if refusal.contains("its own node only") => Ok(()),
        other => Err(format!("{other:?}")),
    });
    // A token that names no node.
    denied(patch(&[&installer], "e2e-own", &label(&Value::Null)), POLICIES[0].1);
    let other_label = json!({ "metadata": { "labels": { "pool": "secret" } } }).to_string();
    denied(patch(&[&installer, own], "e2e-own", &other_label), "no other label");
    denied(patch(&[&installer, own], "e2e-own", r#"{"spec":{"unschedulable":true}}"#), "may be changed");
    let other_taint =
        json!({ "spec": { "taints": [{ "key": "pool", "effect": "NoSchedule" }] } }).to_string();
    denied(patch(&[&installer, own], "e2e-own", &other_taint), "no other taint");
    let create = |change: &dyn Fn(&mut Value)| {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "e2e-probe", "namespace": namespace.name(), "labels": { "app": PROBE_CLASS } },
            "spec": {
                "nodeName": "e2e-own", "runtimeClassName": PROBE_CLASS, "automountServiceAccountToken": false,
                "containers": [{
                    "name": "probe", "image": "localhost/none:1",
                    "securityContext": { "allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 1000 },
                }],
            },
        });
        change(&mut pod);
        let flags = [installer.as_str(), own, "create", "--dry-run=server", "-f", "-"];
        kubectl(flags).input(pod.to_string()).run()
    };
    create(&|_| {}).expect("the probe pod of its own node");
    denied(create(&|pod| pod["spec"]["nodeName"] = "e2e-other".into()), "its own node only");
    denied(create(&|pod| pod["spec"]["hostPID"] = true.into()), "no rights");
    denied(
        create(&|pod| pod["spec"]["volumes"] = json!([{ "name": "root", "hostPath": { "path": "/" } }])),
        "no volumes",
    );
    // kubectl reads the node before it patches it, which the watcher's role does not allow either.
    denied(patch(&[&account(WATCHER)], "e2e-own", &set), "cannot get resource");
    drop(fake);
    drop(nodes);
}

/// A line of `kubectl logs --timestamps`: its date, its time of day, and what it says.
fn timed(line: &str) -> ((String, Duration), &str) {
    let (time, said) = line.split_once(' ').unwrap();
    let (date, time) = time.trim_end_matches('Z').split_once('T').unwrap();
    let mut parts = time.split([':', '.']);
    let mut number = || parts.next().unwrap_or("0").to_owned();
    let [hours, minutes, seconds] = [number(), number(), number()].map(|text| text.parse::<u64>().unwrap());
    let nanos = format!("{:0<9}", number()).parse::<u32>().unwrap();
    ((date.to_owned(), Duration::new(hours * 3600 + minutes * 60 + seconds, nanos)), said)
}

/// The role of the contenders outside of namespaces.
const CONTENDERS_ROLE: &str = "e2e-wasi-http-contender";

/// Removes the contenders' role, which no namespace holds.
fn remove_role() {
    let _ =
        kubectl(["delete", "clusterrole,clusterrolebinding", CONTENDERS_ROLE, "--ignore-not-found"]).run();
}

/// A service account `contender` with the installer's rights. No policy confines it: its pods run on another node than the one they change.
fn allow_contenders(namespace: &Namespace) {
    let account = format!("--serviceaccount={}:contender", namespace.name());
    let kubectl = |arguments: &[&str]| namespace.kubectl(arguments.iter().copied()).must();
    kubectl(&["create", "serviceaccount", "contender"]);
    kubectl(&["create", "role", "leases", "--verb=get,update", "--resource=leases.coordination.k8s.io"]);
    kubectl(&["create", "rolebinding", "leases", "--role=leases", &account]);
    remove_role();
    kubectl(&["create", "clusterrole", CONTENDERS_ROLE, "--verb=get,patch", "--resource=nodes"]);
    let role = format!("--clusterrole={CONTENDERS_ROLE}");
    kubectl(&["create", "clusterrolebinding", CONTENDERS_ROLE, &role, &account]);
}

/// A pod that installs for a node without a machine.
fn contender(namespace: &Namespace, node: &str) -> Value {
    let prepare = "mkdir -p /host/etc/containerd && cp /before/config.toml /host/etc/containerd/config.toml";
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": node, "labels": { "app": "contender" } },
        "spec": {
            "serviceAccountName": "contender", "restartPolicy": "Never",
            "initContainers": [container("prepare", prepare)],
            "containers": [{
                "name": "install", "image": image(NAME), "imagePullPolicy": "IfNotPresent", "args": ["install"],
                "env": [
                    { "name": "NODE_NAME", "value": node }, { "name": "POD_NAMESPACE", "value": namespace.name() },
                    { "name": "INSTALLER_RESTART", "value": "never" },
                ],
                "securityContext": { "runAsUser": 0 },
                "volumeMounts": [{ "name": "node", "mountPath": "/host" }],
            }],
            "volumes": [{ "name": "node", "emptyDir": {} }, { "name": "before", "configMap": { "name": "before" } }],
        },
    })
}

#[test]
fn installers_that_contend_for_the_lease_change_their_nodes_one_after_the_other() {
    const CONTENDERS: [&str; 2] = ["e2e-first", "e2e-second"];
    let _access = Access::exclusive();
    let namespace = set_up("installer-lease");
    let holder = FakeNodes::create(&["e2e-holder"]);
    let contenders = FakeNodes::create(&CONTENDERS);
    let lease = json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": NAME },
        "spec": { "holderIdentity": "e2e-holder", "acquireTime": "2026-01-01T00:00:00.000000Z" } });
    namespace.apply(&lease.to_string());
    allow_contenders(&namespace);
    for node in CONTENDERS {
        namespace.apply(&contender(&namespace, node).to_string());
    }
    let log = |node: &str| namespace.kubectl(["logs", node, "-c", "install", "--timestamps"]).run();
    let waits = "waiting for the lease wasi-http-installer: node e2e-holder holds it since 2026-01-01";
    eventually_within(LONG, "both wait for the node that holds the lease", || {
        CONTENDERS.iter().try_for_each(|node| {
            let said = log(node)?;
            if said.contains(waits) { Ok(()) } else { Err(format!("{node}: {said}")) }
        })
    });
    for node in CONTENDERS {
        assert!(!log(node).unwrap().contains("writes"), "{node} has changed something without the lease");
    }
    drop(holder);
    eventually_within(LONG, "both are done", || {
        let found = pods(namespace.name(), "app=contender")?;
        let phases: Vec<_> = found.iter().map(|pod| pod.text("/status/phase")).collect();
        if phases == ["Succeeded"; 2] { Ok(()) } else { Err(format!("{phases:?}")) }
    });
    let mut spans = CONTENDERS.map(|node| {
        let said = log(node).unwrap();
        let at = |part: &str| {
            let line = said.lines().map(timed).find(|(_, line)| line.contains(part));
            line.unwrap_or_else(|| panic!("{node} does not say {part:?}: {said}")).0
        };
        let span = (at("holds the lease"), at(&format!("labels node {node}")));
        assert!(span.0 < at("changes /etc/containerd/config.toml"), "{said}");
        span
    });
    spans.sort();
    let [first, second] = spans;
    assert!(first.1 <= second.0, "{first:?} and {second:?} overlap");
    for node in CONTENDERS {
        let object = kubectl(["get", "node", node]).json().unwrap();
        assert_eq!(object["metadata"]["labels"][LABEL], "true", "{node}");
    }
    let lease = namespace.kubectl(["get", "lease", NAME]).json().unwrap();
    assert_eq!(lease["spec"].get("holderIdentity"), None, "{lease}");
    drop(contenders);
    remove_role();
}
