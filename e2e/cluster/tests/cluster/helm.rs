//! The chart: install, upgrade, rollback and uninstall, with Helm 4 and with Helm 3.

use std::io::Write as _;
use std::process::{Command, Stdio};

use cluster_e2e::{Cluster, Deployment, Namespace, fail, image, kubectl};
use serde_json::{Value, json};

/// The variable with the path of Helm 3. `scripts/cluster` builds it.
const HELM3: &str = "HELM3";

/// A release of the chart.
struct Release<'a> {
    helm: &'a str,
    namespace: &'a Namespace,
    /// The values of the test cluster.
    values: Value,
}

impl Release<'_> {
    /// Runs Helm with these arguments on the release, in its namespace, with these values as its input.
    #[track_caller]
    fn helm(&self, arguments: &[&str], values: &Value) {
        let mut child = Command::new(self.helm)
            .args(arguments)
            .args(["--namespace", self.namespace.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| fail(format!("{}: {error}", self.helm)));
        // Helm may end before it has read its input.
        let _ = child.stdin.take().unwrap().write_all(values.to_string().as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {}: {said}", self.helm, output.status);
    }

    /// Installs or upgrades with this lifetime of the cache, and waits until the pods have it.
    #[track_caller]
    fn upgrade(&self, ttl: u32) {
        let chart = testkit::paths::workspace().join("charts/gists");
        let mut values = self.values.clone();
        values["settings"] = json!({ "CACHE_TTL": ttl.to_string() });
        self.helm(&["upgrade", "--install", "gists", &chart.to_string_lossy(), "--values", "-"], &values);
        self.serves(ttl);
    }

    /// Waits until all pods are ready, and checks the lifetime of their caches.
    #[track_caller]
    fn serves(&self, ttl: u32) {
        for pod in Deployment::api(self.namespace).ready() {
            let path =
                format!("/api/v1/namespaces/{}/pods/{}:8080/proxy/cache/stats", pod.namespace, pod.name);
            let stats: Value = serde_json::from_str(&kubectl(["get", "--raw", &path]).must()).unwrap();
            assert_eq!(stats["ttl_seconds"], ttl, "{}: {stats}", pod.name);
        }
    }
}

#[test]
fn a_release_is_rolled_back_to_its_settings_with_each_helm() {
    let mut helms = vec![("helm4", "helm".to_owned())];
    match std::env::var(HELM3) {
        Ok(path) => helms.push(("helm3", path)),
        Err(_) => println!("NOT RUN: the chart with Helm 3: {HELM3} names no program"),
    }
    for (name, helm) in helms {
        let namespace = Namespace::new(name);
        let plain = Cluster::get().plain();
        let reference = image(if plain { "github-gists-api-plain" } else { "github-gists-api" });
        let (repository, tag) = reference.rsplit_once(':').unwrap();
        let values = json!({
            "image": { "repository": repository, "tag": tag },
            "runtimeClassName": if plain { "" } else { "wasi-http" },
            "autoscaling": { "enabled": false },
            "replicas": 2,
            "podDisruptionBudget": { "minAvailable": 1 },
        });
        let release = Release { helm: &helm, namespace: &namespace, values };
        release.upgrade(300);
        release.upgrade(600);
        release.upgrade(700);
        // Back to settings that an earlier revision had, whose ConfigMap still exists, and back again.
        for (revision, ttl) in [("1", 300), ("2", 600)] {
            release.helm(&["rollback", "gists", revision], &Value::Null);
            release.serves(ttl);
        }
        // Kubernetes' own way back restores the settings too.
        namespace.kubectl(["rollout", "undo", "deployment/github-gists-api"]).must();
        release.serves(300);
        release.helm(&["uninstall", "gists"], &Value::Null);
        let left =
            namespace.kubectl(["get", "deployments,services,poddisruptionbudgets", "-o", "name"]).must();
        assert_eq!(left.trim(), "", "{name}");
    }
}
