//! Images that the kubelet pulls from a registry with TLS and a password: each form, by tag and by digest, and what the events of a pod
//! say when the pull fails. All other tests use images that were imported.

use std::fs;
use std::path::Path;

use cluster_e2e::{Access, Cluster, LONG, Namespace, Pod, eventually_within, kubectl, pods};
use serde_json::{Value, json};

use crate::support::{
    Registry,
    layouts::{ARTIFACT, IMAGE, TAG, blob, layer, layouts, manifest, sha256},
};

/// The repository with the form that `wkg oci push` gives a component.
const WKG: &str = "wkg";
const SECRET: &str = "registry";
/// The label of the tests' pods.
const APP: &str = "pulled";

/// Pushes the artifact's component in the form of `wkg oci push` (wkg 0.16 with oci-wasm 0.6), with the same fields in configuration and
/// manifest: the layer has a title, the manifest has no annotations. Returns the manifest's digest.
fn push_as_wkg(registry: &Registry, layouts: &Path) -> String {
    let ours = layouts.join(ARTIFACT);
    let manifest = manifest(&ours);
    let config: Value = serde_json::from_slice(&blob(&ours, &manifest["config"])).unwrap();
    let layer = &manifest["layers"][0];
    let config = json!({
        "created": "2026-01-02T03:04:05.678901234Z", "author": null, "architecture": "wasm", "os": "wasip2",
        "layerDigests": [layer["digest"]],
        "component": {
            "exports": config["component"]["exports"], "imports": config["component"]["imports"], "target": null,
        },
    })
    .to_string();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.wasm.config.v0+json", "digest": sha256(config.as_bytes()), "size": config.len(),
        },
        "layers": [{
            "mediaType": "application/wasm", "digest": layer["digest"], "size": layer["size"],
            "annotations": { "org.opencontainers.image.title": "gists.wasm" },
        }],
    })
    .to_string();
    let file = |name: &str, content: &str| {
        let path = layouts.join(name);
        fs::write(&path, content).unwrap();
        path
    };
    registry.push_blob(&file("wkg-config.json", &config), WKG);
    registry.push_blob(&layouts.join("gists.wasm"), WKG);
    registry.push_manifest(&file("wkg-manifest.json", &manifest), &format!("{WKG}:{TAG}"));
    sha256(manifest.as_bytes())
}

/// A pod of the runtime class that runs this image.
pub(crate) fn pod(name: &str, image: &str, secret: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "app": APP } },
        "spec": {
            "runtimeClassName": "wasi-http",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 5,
            "imagePullSecrets": secret.map(|name| json!({ "name": name })).into_iter().collect::<Vec<_>>(),
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" }
            },
            "containers": [{
                "name": "api", "image": image, "imagePullPolicy": "Always",
                // The kubelet refuses an artifact's container without a command. In the image, the path is right, too.
                "command": ["/gists.wasm"],
                "readinessProbe": { "httpGet": { "path": "/ready", "port": 9090 }, "periodSeconds": 1 },
                "resources": { "requests": { "cpu": "10m", "memory": "64Mi" } },
                "securityContext": {
                    "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                    "capabilities": { "drop": ["ALL"] }
                }
            }]
        }
    })
}

pub(crate) fn apply(namespace: &Namespace, pods: &[Value]) {
    namespace.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": pods }).to_string());
}

/// Waits for an event that says that the pod's image cannot be pulled, with each of these texts. The first event may have another
/// reason: a kubelet that does not know a new Secret yet pulls without it.
pub(crate) fn await_failure(namespace: &Namespace, pod: &str, texts: &[&str]) {
    let about = format!("involvedObject.name={pod},reason=Failed");
    eventually_within(LONG, &format!("an event of pod {pod} says {texts:?}"), || {
        let events = namespace.kubectl(["get", "events", "--field-selector", &about]).json()?;
        let messages =
            events["items"].as_array().into_iter().flatten().filter_map(|event| event["message"].as_str());
        let said = messages.into_iter().any(|message| {
            message.starts_with("Failed to pull image") && texts.iter().all(|text| message.contains(text))
        });
        if said { Ok(()) } else { Err(events["items"].to_string()) }
    });
}

/// Whether the node's containerd is of version 1, which knows images only.
pub(crate) fn images_only() -> bool {
    let nodes = kubectl(["get", "nodes"]).json().unwrap();
    let runtime = nodes.pointer("/items/0/status/nodeInfo/containerRuntimeVersion").and_then(Value::as_str);
    runtime.unwrap().starts_with("containerd://1.")
}

/// The registry of one test, or `None` where the test cannot run.
pub(crate) fn registry(name: &str) -> Option<Registry> {
    if Cluster::get().plain() {
        println!("NOT RUN: these images need the runtime class");
        return None;
    }
    Registry::start(name)
}

#[test]
fn a_pulled_image_and_each_form_of_artifact_run_by_tag_and_by_digest() {
    let _access = Access::shared();
    let Some(registry) = registry("forms") else { return };
    registry.trust();
    let namespace = Namespace::new("pull");
    registry.right_secret(&namespace, SECRET);
    let layouts = layouts("pull");
    let mut forms = vec![
        (IMAGE, registry.push(&layouts.join(IMAGE), IMAGE), layer(&layouts.join(IMAGE))),
        (ARTIFACT, registry.push(&layouts.join(ARTIFACT), ARTIFACT), layer(&layouts.join(ARTIFACT))),
        (WKG, push_as_wkg(&registry, &layouts), layer(&layouts.join(ARTIFACT))),
    ];
    if images_only() {
        let refused: Vec<_> = forms.drain(1..).map(|(form, ..)| form).collect();
        let made: Vec<_> = refused
            .iter()
            .map(|form| pod(form, &registry.image(&format!("{form}:{TAG}")), Some(SECRET)))
            .collect();
        apply(&namespace, &made);
        for form in refused {
            await_failure(&namespace, form, &["mismatched image rootfs and manifest layers"]);
        }
    }
    let made: Vec<_> = forms
        .iter()
        .flat_map(|(form, digest, _)| {
            [("tag", format!("{form}:{TAG}")), ("digest", format!("{form}@{digest}"))]
                .map(|(by, name)| pod(&format!("{form}-by-{by}"), &registry.image(&name), Some(SECRET)))
        })
        .collect();
    apply(&namespace, &made);
    eventually_within(LONG, "all pulled pods are ready", || {
        let all = pods(namespace.name(), &format!("app={APP}"))?;
        let wanted = |pod: &&Pod| pod.name.contains("-by-");
        if let Some(reason) = all.iter().filter(wanted).find_map(Pod::hopeless) {
            return Err(reason);
        }
        let ready = all.iter().filter(wanted).filter(|pod| pod.ready()).count();
        if ready == made.len() { Ok(()) } else { Err(format!("{ready} of {}", made.len())) }
    });
    for (form, digest, layer) in &forms {
        for by in ["tag", "digest"] {
            let name = format!("{form}-by-{by}");
            let pod = Pod::from(namespace.kubectl(["get", "pod", &name]).json().unwrap());
            assert_eq!(
                pod.text("/status/containerStatuses/0/imageID"),
                registry.image(&format!("{form}@{digest}"))
            );
            let path = format!("/api/v1/namespaces/{}/pods/{name}:8080/proxy/health", namespace.name());
            assert!(kubectl(["get", "--raw", &path]).must().contains("healthy"), "{name}");
        }
        // Both forms of artifact have one layer, which a node fetches once.
        let sent = registry.has_sent(form, layer) || (*form != IMAGE && registry.has_sent(ARTIFACT, layer));
        assert!(sent || registry.has_sent(WKG, layer), "{form}: the node did not pull its layer");
    }
}

#[test]
fn the_events_of_a_pod_say_why_its_image_cannot_be_pulled() {
    let _access = Access::shared();
    let Some(registry) = registry("refusals") else { return };
    let Some(untrusted) = Registry::start("untrusted") else { return };
    registry.trust();
    untrusted.trust_no_authority();
    let namespace = Namespace::new("pull-refused");
    registry.right_secret(&namespace, SECRET);
    registry.secret(&namespace, "wrong", "not-the-password");
    let unknown = format!("{IMAGE}@sha256:{}", "0".repeat(64));
    let (named, tagged) = (registry.image(&unknown), registry.image(&format!("{IMAGE}:{TAG}")));
    let no_login = if images_only() { "401 Unauthorized" } else { "no basic auth credentials" };
    let cases = [
        ("wrong-password", pod("wrong-password", &tagged, Some("wrong")), "401 Unauthorized"),
        ("no-secret", pod("no-secret", &tagged, None), no_login),
        ("unknown-digest", pod("unknown-digest", &named, Some(SECRET)), "not found"),
        (
            "unknown-authority",
            pod("unknown-authority", &untrusted.image(&format!("{IMAGE}:{TAG}")), None),
            "certificate signed by unknown authority",
        ),
    ];
    apply(&namespace, &cases.clone().map(|(_, pod, _)| pod));
    for (name, pod, reason) in cases {
        let image = pod.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap();
        await_failure(&namespace, name, &[image, reason]);
    }
}
