//! The runtime class: processes, users, environment and the end of pods.

use std::time::{Duration, Instant};

use cluster_e2e::{
    Access, Cluster, Deployment, Fake, Gateway, Kustomization, LONG, Namespace, Node, Pod, ScriptedResponse,
    await_route, eventually, eventually_within, figure, kubectl, milliseconds, pods, scrape,
};
use serde_json::{Value, json};
use testkit::http::Request;

const NAME: &str = "github-gists-api";

/// One pod of the overlay with a change to its template.
fn one(change: &Value) -> Kustomization {
    let patch = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": NAME },
        "spec": { "template": change }
    });
    Cluster::get().dev().replicas(1).eager().patch("Deployment", NAME, &patch)
}

/// The response of a pod's port, through the API server.
fn get(pod: &Pod, target: &str) -> Result<String, String> {
    let path = format!("/api/v1/namespaces/{}/pods/{}:8080/proxy{target}", pod.namespace, pod.name);
    kubectl(["get", "--raw", &path]).run()
}

#[test]
fn the_overlay_dev_as_it_is() {
    let _access = Access::exclusive();
    let namespace = Namespace::exactly("dev", &[]);
    kustomized("apply", "k8s/namespaces/dev");
    if Cluster::get().plain() {
        println!("NOT THE OVERLAY AS IT IS: the plain-container variant of it");
        Cluster::get().dev().apply(&namespace);
    } else {
        kustomized("apply", "k8s/overlays/dev");
    }
    let object = kubectl(["get", "namespace", "dev"]).json().unwrap();
    assert_eq!(object["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    eventually_within(LONG, "the autoscaler asks for its minimum", || {
        let deployment = Deployment::api(&namespace).object()?;
        if deployment["spec"]["replicas"] == 3 {
            Ok(())
        } else {
            Err(deployment["spec"]["replicas"].to_string())
        }
    });
    let all = Deployment::api(&namespace).ready();
    assert_eq!(all.len(), 3);
    for pod in &all {
        if !Cluster::get().plain() {
            assert_eq!(pod.text("/spec/runtimeClassName"), "wasi-http");
            assert!(pod.object.pointer("/spec/overhead/memory").is_some(), "{}", pod.name);
        }
        assert_eq!(pod.restarts(), 0);
        // The state on the node, not the manifest.
        for line in Node::get().processes(pod, NAME) {
            println!("{}: {line}", pod.name);
            assert!(line.contains("wasi-http-host"), "{line}");
            assert!(
                line.contains("uid=1000 gid=1000 capabilities=0000000000000000 seccomp=2 nonewprivs=1"),
                "{line}"
            );
        }
        let samples = scrape(pod, 9090).unwrap();
        assert!(
            samples.has("wasi_http_host_build_info") && samples.has("http_requests_total"),
            "{}",
            pod.name
        );
        let ready: Value = serde_json::from_str(&get(pod, "/ready?verbose").unwrap()).unwrap();
        assert_eq!(ready["status"], "ready");
        assert!(ready.to_string().contains(&pod.name), "{ready}");
    }
    // All pods may go, because a cluster for development has one node.
    eventually("the budget lets all pods go", || {
        let budget = namespace.kubectl(["get", "poddisruptionbudget", NAME]).json()?;
        let allowed = &budget["status"]["disruptionsAllowed"];
        if *allowed == 3 { Ok(()) } else { Err(allowed.to_string()) }
    });
    removed_alone(&namespace);
}

/// Runs `kubectl apply -k` or `kubectl delete -k` on a directory of the repository.
fn kustomized(verb: &str, directory: &str) {
    kubectl([verb, "-k", &testkit::paths::workspace().join(directory).to_string_lossy()]).must();
}

/// Removes the overlay `dev`. The namespace stays, and what others have in it.
fn removed_alone(namespace: &Namespace) {
    namespace.apply(
        &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "of-another" } }).to_string(),
    );
    kustomized("delete", "k8s/overlays/dev");
    assert_eq!(kubectl(["get", "namespace", "dev"]).json().unwrap()["status"]["phase"], "Active");
    let _ = namespace.kubectl(["get", "configmap", "of-another"]).must();
    eventually("the service is gone", || {
        match namespace.kubectl(["get", "deployments,services,hpa", "-o", "name"]).run()?.trim() {
            "" => Ok(()),
            left => Err(left.to_owned()),
        }
    });
}

#[test]
fn settings_of_a_config_map_and_of_a_secret_reach_the_component() {
    let _access = Access::shared();
    let fake = Fake::get();
    let namespace = Namespace::new("settings");
    namespace.apply(
        &json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "github-token" },
            "stringData": { "GITHUB_TOKEN": "of-the-secret", "CACHE_TTL": "1234" }
        })
        .to_string(),
    );
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "more" },
        "data": { "CLUSTER_NAME": "of-the-map" } });
    namespace.apply(&map.to_string());
    let from = json!({ "spec": { "containers": [{
        "name": NAME, "env": [{ "name": "CLUSTER_NAME", "valueFrom":
            { "configMapKeyRef": { "name": "more", "key": "CLUSTER_NAME" } } }]
    }] } });
    // First, the Secret is in the environment, as in the base; then it is mounted as files.
    let environment = one(&from).upstream(&fake.url());
    for (how, overlay, ttl) in [
        ("in the environment", environment.clone(), 300),
        ("as files", environment.component("k8s/components/settings-files"), 1234),
    ] {
        overlay.apply(&namespace);
        let pod = Deployment::api(&namespace).ready().remove(0);
        let login = fake.user(1);
        get(&pod, &format!("/{login}")).unwrap();
        let calls = fake.calls(&login);
        assert_eq!(calls.len(), 1, "{how}");
        assert_eq!(calls[0].header("authorization"), Some("Bearer of-the-secret"), "{how}");
        let stats: Value = serde_json::from_str(&get(&pod, "/cache/stats").unwrap()).unwrap();
        assert_eq!(stats["ttl_seconds"], ttl, "{how}");
        assert!(get(&pod, "/ready?verbose").unwrap().contains("of-the-map"), "{how}");
    }
}

#[test]
fn a_linux_sidecar_is_a_container_like_any_other() {
    let _access = Access::shared();
    let namespace = Namespace::new("sidecar");
    let map = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "page" }, "data": { "page": "mounted" } });
    namespace.apply(&map.to_string());
    let sidecar = json!({
        "name": "sidecar", "image": cluster_e2e::image("busybox"), "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", "echo sidecar up; httpd -f -p 8090 -h /www"],
        "env": [
            { "name": "SIDECAR", "value": "its own" },
            { "name": "POD_IP", "valueFrom": { "fieldRef": { "fieldPath": "status.podIP" } } }
        ],
        "ports": [{ "name": "page", "containerPort": 8090 }],
        "readinessProbe": { "exec": { "command": ["sh", "-c", "test \"$SIDECAR\" = 'its own'"] }, "periodSeconds": 1 },
        "livenessProbe": { "httpGet": { "path": "/page", "port": "page" }, "periodSeconds": 1 },
        "resources": { "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "cpu": "200m", "memory": "40Mi" } },
        "securityContext": {
            "runAsUser": 1234, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": { "drop": ["ALL"] }
        },
        "volumeMounts": [{ "name": "page", "mountPath": "/www", "readOnly": true }]
    });
    one(&json!({ "spec": {
        "containers": [{ "name": NAME }, sidecar],
        "volumes": [{ "name": "page", "configMap": { "name": "page" } }]
    } }))
    .apply(&namespace);
    let pod = Deployment::api(&namespace).ready().remove(0);
    assert_eq!(pod.containers().len(), 2);
    assert!(get(&pod, "/health").unwrap().contains("healthy"));

    let exec = |command: &str| {
        namespace.kubectl(["exec", &pod.name, "-c", "sidecar", "--", "sh", "-c", command]).must()
    };
    // The environment of the process. A sidecar must not get the environment of the node.
    let environment = exec("tr '\\000' '\\n' < /proc/1/environ");
    assert!(environment.contains("SIDECAR=its own"), "{environment}");
    assert!(environment.contains(&format!("POD_IP={}", pod.text("/status/podIP"))), "{environment}");
    let known = |name: &str| {
        // Variables of the shell, and those that each container has.
        ["SHLVL", "PWD", "PATH", "HOSTNAME", "HOME", "SIDECAR", "POD_IP"].contains(&name)
            || name.starts_with("KUBERNETES_")
    };
    for variable in environment.lines().filter_map(|line| line.split_once('=')) {
        assert!(known(variable.0), "a variable that nobody gave it: {variable:?}");
    }
    assert_eq!(exec("id -u").trim(), "1234");
    assert_eq!(exec("cat /www/page"), "mounted");
    assert!(exec("touch /new 2>&1; true").contains("Read-only"));
    let limit =
        exec("cat /sys/fs/cgroup/memory.max 2>/dev/null || cat /sys/fs/cgroup/memory/memory.limit_in_bytes");
    assert_eq!(limit.trim(), (40_u32 << 20).to_string());
    assert_eq!(exec("wget -qO- http://127.0.0.1:8080/health").trim(), get(&pod, "/health").unwrap().trim());
    let logs = namespace.kubectl(["logs", &pod.name, "-c", "sidecar"]).must();
    assert_eq!(logs.trim(), "sidecar up");
    assert_eq!(pod.restarts(), 0);
}

#[test]
fn a_pod_that_is_deleted_answers_what_it_has_begun_and_ends_with_0() {
    let _access = Access::shared();
    let fake = Fake::get();
    let namespace = Namespace::new("drain");
    let host = "drain.gists.test";
    one(&json!({ "spec": { "terminationGracePeriodSeconds": 150 } }))
        .at_host(host)
        .upstream(&fake.url())
        .apply(&namespace);
    let pod = Deployment::api(&namespace).ready().remove(0);
    let client = Gateway::get().http(host);
    await_route(&client, &Request::get("/health"));
    let login = fake.user(1);
    fake.always(&login, &ScriptedResponse::genuine().after(Duration::from_secs(8)));
    let asking = {
        let (client, request) = (client, Request::get(&format!("/{login}")));
        std::thread::spawn(move || client.send(&request))
    };
    eventually("the request has reached GitHub", || {
        if fake.calls(&login).is_empty() { Err("not yet".to_owned()) } else { Ok(()) }
    });
    // A finalizer keeps the object, so that the test can read how the container ended.
    namespace
        .kubectl(["patch", "pod", &pod.name, "-p", r#"{"metadata":{"finalizers":["gists.test/look"]}}"#])
        .must();
    let started = Instant::now();
    namespace.kubectl(["delete", "pod", &pod.name, "--wait=false"]).must();
    let status = eventually_within(LONG, "its container has ended", || {
        let object = namespace.kubectl(["get", "pod", &pod.name]).json()?;
        let container = Pod::from(object).container(NAME).ok_or("no status")?;
        if container.status.pointer("/state/terminated").is_some() {
            Ok(container)
        } else {
            Err(container.status.to_string())
        }
    });
    let took = started.elapsed();
    namespace.kubectl(["patch", "pod", &pod.name, "-p", r#"{"metadata":{"finalizers":null}}"#]).must();
    let answer = asking.join().unwrap().unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(status.exit_code(), Some(0), "{}", status.status);
    assert!(status.has("/state/terminated", "Completed"), "{}", status.status);
    figure("runtime", "deletion_ms", milliseconds(took));
    assert!(took < Duration::from_secs(100), "the whole grace period went by: {took:?}");
}

#[test]
fn a_container_over_its_memory_limit_is_killed_named_so_and_started_again() {
    let _access = Access::shared();
    let namespace = Namespace::new("memory");
    // The memory is enough for a start, but not for a first instance on each of that many threads.
    one(&json!({ "spec": { "containers": [{
        "name": NAME, "resources": { "requests": { "memory": "6Mi" }, "limits": { "memory": "6Mi" } },
        "env": [{ "name": "WASI_HTTP_HOST_THREADS", "value": "64" }]
    }] } }))
    .apply(&namespace);
    eventually_within(LONG, "its end is put down to memory", || {
        let all = pods(namespace.name(), &format!("app={NAME}"))?;
        let container = all.iter().find_map(|pod| pod.container(NAME)).ok_or("no container yet")?;
        let killed = container.has("/lastState/terminated", "OOMKilled") && container.restarts > 0;
        if killed { Ok(()) } else { Err(container.status.to_string()) }
    });
}

#[test]
fn an_artifact_runs_as_an_image_does() {
    let _access = Access::shared();
    if Cluster::get().plain() {
        println!("NOT RUN: an artifact needs the runtime class");
        return;
    }
    let fake = Fake::get();
    let namespace = Namespace::new("artifact");
    one(&json!({})).upstream(&fake.url()).component("k8s/components/wasm-artifact").apply(&namespace);
    let pod = Deployment::api(&namespace).ready().remove(0);
    assert!(pod.text("/spec/containers/0/image").contains("-artifact"), "{}", pod.object);
    let login = fake.user(2);
    let page: Value = serde_json::from_str(&get(&pod, &format!("/{login}")).unwrap()).unwrap();
    assert_eq!(page["pagination"]["count"], 2);
}
