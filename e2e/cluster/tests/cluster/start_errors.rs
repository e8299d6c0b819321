//! What an operator sees of a container that cannot start: the reason, in the container's status and in `kubectl describe pod`.

use cluster_e2e::{Access, Cluster, LONG, Namespace, Pod, eventually_within, image};
use serde_json::{Value, json};

const NAME: &str = "api";
const WRONG: &str = "invalid value 'lots' for WASI_HTTP_HOST_MAX_MEMORY (--max-memory): \"lots\" is not a size: \
                     write it as 65536, 64KiB or 16MiB";

/// Runs one container to its end, and returns its exit code and its termination message. The description of the pod must have the
/// message too, and neither log lines nor colours.
#[track_caller]
fn end_of(namespace: &Namespace, pod: &str, runtime_class: bool, container: &Value) -> (i64, String) {
    let (mut container, plain) = (container.clone(), if runtime_class { "" } else { "-plain" });
    container["name"] = NAME.into();
    container["image"] = image(&format!("github-gists-api{plain}")).into();
    container["imagePullPolicy"] = "IfNotPresent".into();
    container["securityContext"] = json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } });
    let mut spec = json!({
        "restartPolicy": "Never", "automountServiceAccountToken": false, "containers": [container],
        "securityContext": { "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" } },
        "volumes": [{ "name": "broken", "configMap": { "name": "broken", "optional": true } }]
    });
    if runtime_class {
        spec["runtimeClassName"] = "wasi-http".into();
    }
    namespace.apply(
        &json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": pod }, "spec": spec }).to_string(),
    );
    let ended = eventually_within(LONG, "the container has ended", || {
        let object = namespace.kubectl(["get", "pod", pod]).json()?;
        let container = Pod::from(object).container(NAME).ok_or("no status")?;
        container.status.pointer("/state/terminated").cloned().ok_or_else(|| container.status.to_string())
    });
    let message = ended["message"].as_str().unwrap_or_default().to_owned();
    let described = namespace.kubectl(["describe", "pod", pod]).must();
    println!("{pod}: {ended}");
    assert!(!message.is_empty() && described.contains(&message), "{message}: {described}");
    assert!(!described.contains('\x1b') && !described.contains("INFO"), "{described}");
    (ended["exitCode"].as_i64().unwrap(), message)
}

fn wrong_setting() -> Value {
    json!({ "env": [{ "name": "WASI_HTTP_HOST_MAX_MEMORY", "value": "lots" }] })
}

#[test]
fn a_plain_container_that_cannot_start_says_why_in_its_status() {
    let _access = Access::shared();
    let namespace = Namespace::new("start-plain");
    assert_eq!(end_of(&namespace, "setting", false, &wrong_setting()), (64, WRONG.to_owned()));

    // `\0asm`, the version of components, and a section that is cut off.
    let broken = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "broken" },
        "binaryData": { "broken.wasm": "AGFzbQ0AAQAH/w==" }
    });
    namespace.apply(&broken.to_string());
    let component = json!({
        "args": ["/broken/broken.wasm"], "command": ["/wasi-http-host", "serve"],
        "volumeMounts": [{ "name": "broken", "mountPath": "/broken" }]
    });
    let (code, message) = end_of(&namespace, "component", false, &component);
    assert!(code == 1 && message.starts_with("component \"broken\": it is invalid: "), "{code}: {message}");
}

#[test]
fn a_container_of_the_runtime_class_that_cannot_start_says_why_in_its_status() {
    let _access = Access::shared();
    if Cluster::get().plain() {
        println!("NOT RUN: it needs the runtime class");
        return;
    }
    let namespace = Namespace::new("start-class");
    assert_eq!(end_of(&namespace, "setting", true, &wrong_setting()), (64, WRONG.to_owned()));
    let mut elsewhere = wrong_setting();
    elsewhere["terminationMessagePath"] = "/why".into();
    assert_eq!(end_of(&namespace, "elsewhere", true, &elsewhere), (64, WRONG.to_owned()));

    // Here, no process of the container has run. The message is the error of the shim behind what containerd says.
    for (pod, command, reason) in [
        ("file", "/absent.wasm", "it has no file /absent.wasm and is no WebAssembly artifact"),
        (
            "program",
            "/x",
            "it has no program /x; it holds /gists.wasm, /spin.toml: set the container's command",
        ),
    ] {
        let (code, message) = end_of(&namespace, pod, true, &json!({ "command": [command] }));
        let named = message.contains("image localhost/github-gists-api") && message.contains(reason);
        assert!(code == 128 && named, "{code}: {message}");
    }
}
