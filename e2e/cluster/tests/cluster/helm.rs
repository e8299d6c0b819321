//! The chart: install, upgrade, rollback and uninstall, with Helm 4 and with Helm 3.

use cluster_e2e::{Access, Cluster, Deployment, Namespace, image, kubectl};
use serde_json::{Value, json};

use crate::support::Release;

/// The variable with the path of Helm 3. `scripts/cluster` builds it.
const HELM3: &str = "HELM3";

/// The chart in a namespace.
struct Installed<'a> {
    release: Release<'a>,
    /// The values of the test cluster.
    values: Value,
}

impl Installed<'_> {
    /// Installs or upgrades with this lifetime of the cache, and waits until the pods have it.
    #[track_caller]
    fn upgrade(&self, ttl: u32) {
        let mut values = self.values.clone();
        values["settings"] = json!({ "CACHE_TTL": ttl.to_string() });
        self.release.upgrade(&values);
        self.serves(ttl);
    }

    /// Waits until all pods are ready, and checks the lifetime of their caches.
    #[track_caller]
    fn serves(&self, ttl: u32) {
        for pod in Deployment::api(self.release.namespace).ready() {
            let path =
                format!("/api/v1/namespaces/{}/pods/{}:8080/proxy/cache/stats", pod.namespace, pod.name);
            let stats: Value = serde_json::from_str(&kubectl(["get", "--raw", &path]).must()).unwrap();
            assert_eq!(stats["ttl_seconds"], ttl, "{}: {stats}", pod.name);
        }
    }
}

#[test]
fn a_release_is_rolled_back_to_its_settings_with_each_helm() {
    let _access = Access::shared();
    let mut helms = vec![("helm4", "helm".to_owned())];
    match std::env::var(HELM3) {
        Ok(path) => helms.push(("helm3", path)),
        Err(_) => println!("NOT RUN: the chart with Helm 3: {HELM3} names no program"),
    }
    // Side by side: most of the time, a rollout waits for the probes of the chart's pods.
    std::thread::scope(|scope| {
        for (name, helm) in &helms {
            let namespace = Namespace::new(name);
            scope.spawn(move || rolls_back(helm, &namespace));
        }
    });
}

/// Installs, upgrades, rolls back and uninstalls the chart with this Helm.
fn rolls_back(helm: &str, namespace: &Namespace) {
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
    let release = Release { helm, namespace, name: "gists", chart: "gists" };
    let installed = Installed { release, values };
    installed.upgrade(300);
    installed.upgrade(600);
    installed.upgrade(700);
    // Back to settings that an earlier revision had, whose ConfigMap still exists, and back again.
    for (revision, ttl) in [("1", 300), ("2", 600)] {
        installed.release.rollback(revision);
        installed.serves(ttl);
    }
    // Kubernetes' own way back restores the settings too.
    namespace.kubectl(["rollout", "undo", "deployment/github-gists-api"]).must();
    installed.serves(300);
    installed.release.uninstall();
    let left = namespace.kubectl(["get", "deployments,services,poddisruptionbudgets", "-o", "name"]).must();
    assert_eq!(left.trim(), "", "{helm}");
}
