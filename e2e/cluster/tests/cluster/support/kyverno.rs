//! Kyverno's admission controller in the cluster, while one test runs.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use cluster_e2e::{Deployment, Kustomization, Namespace, fail, kubectl};
use serde_json::json;
use testkit::paths;

use super::Registry;

/// The directory with Kyverno's chart and custom kinds, which `local-cluster/build` has made. `scripts/cluster` sets it.
const FILES: &str = "CLUSTER_TEST_KYVERNO";
const NAME: &str = "kyverno";
const CONTROLLER: &str = "kyverno-admission-controller";
/// The Secret with the registry's login, as `k8s/cluster/signed-images` names it.
const LOGIN: &str = "registry";
const WEBHOOKS: &str = "validatingwebhookconfigurations,mutatingwebhookconfigurations";

/// Kyverno with the registry's authority and login. It is removed when this value is dropped.
pub(crate) struct Kyverno {
    namespace: Namespace,
    files: PathBuf,
    objects: PathBuf,
}

impl Kyverno {
    /// Installs Kyverno by its chart, with the values of `k8s/cluster/kyverno`, and does not wait for it. Returns `None`, and says why, where
    /// its files are missing.
    pub(crate) fn install(registry: &Registry) -> Option<Self> {
        let Some(files) = std::env::var_os(FILES).map(PathBuf::from) else {
            println!("NOT RUN: {FILES} is not set: there is no Kyverno to install");
            return None;
        };
        let image = files.with_file_name("images").join("kyverno.tar");
        run(Command::new("ctr")
            .arg("--address")
            .arg(Registry::node_directory().join("containerd.sock"))
            .args(["--namespace", "k8s.io", "images", "import"])
            .arg(image));
        let kinds = ["kyverno", "policies.kyverno.io"]
            .map(|group| files.join("crds").join(group).display().to_string());
        kubectl(["apply", "--server-side", "-f", &kinds[0], "-f", &kinds[1]]).must();
        // The registry is on this machine's loopback, which is the node's.
        let namespace = Namespace::exactly(NAME, &[("pod-security.kubernetes.io/enforce", "privileged")]);
        registry.right_secret(&namespace, LOGIN);
        let kyverno = Self { objects: paths::scratch(NAME), namespace, files };
        let version = fs::read_to_string(kyverno.files.join("module")).unwrap();
        let probe = |path: &str| {
            json!({ "httpGet": { "path": path, "port": 9443, "scheme": "HTTPS" }, "periodSeconds": 1, "failureThreshold": 120,
                "initialDelaySeconds": 0 })
        };
        let values = json!({ "admissionController": {
            "replicas": 1, "hostNetwork": true, "metering": { "disabled": true },
            "container": { "image": { "registry": "localhost", "repository": NAME, "tag": version.trim() } },
            "caCertificates": { "data": fs::read_to_string(registry.authority()).unwrap() },
            "startupProbe": probe("/health/liveness"), "readinessProbe": probe("/health/readiness"),
        }, "features": { "controllerRuntimeMetrics": { "bindAddress": "0" } } });
        fs::write(kyverno.objects.join("values.json"), values.to_string()).unwrap();
        let objects = run(Command::new("helm")
            .args(["template", NAME])
            .arg(kyverno.files.join("chart"))
            .args(["--namespace", NAME, "--no-hooks", "--values"])
            .arg(paths::workspace().join("k8s/cluster/kyverno/values.yaml"))
            .arg("--values")
            .arg(kyverno.objects.join("values.json")));
        fs::write(kyverno.objects.join("objects.yaml"), objects).unwrap();
        let kustomization = json!({ "resources": ["objects.yaml"] });
        fs::write(kyverno.objects.join("kustomization.yaml"), kustomization.to_string()).unwrap();
        // The init container removes what older versions have left, and its program is not built here.
        Kustomization::on(&kyverno.objects.to_string_lossy())
            .patch(
                "Deployment",
                CONTROLLER,
                &json!([{ "op": "remove", "path": "/spec/template/spec/initContainers" }]),
            )
            .apply(&kyverno.namespace);
        Some(kyverno)
    }

    /// Waits until the controller is ready.
    pub(crate) fn ready(&self) {
        let _ = Deployment::new(&self.namespace, CONTROLLER).ready();
    }
}

impl Drop for Kyverno {
    fn drop(&mut self) {
        // The controller first, because it makes its webhooks again.
        let pods = "app.kubernetes.io/part-of=kyverno";
        let _ = self.namespace.kubectl(["delete", "deployment", CONTROLLER, "--ignore-not-found"]).run();
        let _ = self.namespace.kubectl(["delete", "pods", "-l", pods, "--force", "--grace-period=0"]).run();
        let _ = kubectl(["delete", WEBHOOKS, "-l", "webhook.kyverno.io/managed-by=kyverno"]).run();
        let objects = self.objects.join("objects.yaml").display().to_string();
        let _ = kubectl(["delete", "--ignore-not-found", "--wait=false", "-f", &objects]).run();
        for group in ["kyverno", "policies.kyverno.io"] {
            let kinds = self.files.join("crds").join(group).display().to_string();
            let _ = kubectl(["delete", "--ignore-not-found", "--wait=false", "-f", &kinds]).run();
        }
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| fail(format!("{command:?}: {error}")));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
