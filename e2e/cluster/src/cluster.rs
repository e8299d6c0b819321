//! The cluster that `KUBECONFIG` names, and what the tests need of it.

use std::sync::OnceLock;

use crate::{Kustomization, Namespace, fail, kubectl};

/// `plain` runs the suite with the plain-container component, where the node has no shim.
const VARIANT: &str = "CLUSTER_TEST_VARIANT";

/// What the names of the tests' namespaces begin with, so that two runs may share a cluster.
const PREFIX: &str = "CLUSTER_TEST_PREFIX";

/// The cluster, once it is known to have what the tests need.
#[derive(Debug)]
pub struct Cluster {
    plain: bool,
}

/// A local image with the tag that `IMAGE_TAG` names, or `dev`: `image("fake-github")`.
#[must_use]
pub fn image(name: &str) -> String {
    format!("localhost/{name}:{}", tag())
}

/// The tag of the local images.
pub(crate) fn tag() -> String {
    std::env::var("IMAGE_TAG").unwrap_or_else(|_| "dev".to_owned())
}

impl Cluster {
    /// The cluster; looked at once.
    ///
    /// # Panics
    /// When it lacks something, with all that it lacks.
    pub fn get() -> &'static Self {
        static CLUSTER: OnceLock<Cluster> = OnceLock::new();
        CLUSTER.get_or_init(|| {
            let plain = std::env::var(VARIANT).is_ok_and(|variant| variant == "plain");
            let missing = missing(plain);
            if !missing.is_empty() {
                fail(format!("the cluster tests need:\n  - {}", missing.join("\n  - ")));
            }
            Self { plain }
        })
    }

    /// Whether the suite runs ordinary containers in place of the runtime class.
    #[must_use]
    pub fn plain(&self) -> bool {
        self.plain
    }

    /// The overlay `dev` with the node's images, in the variant that the suite runs.
    #[must_use]
    pub fn dev(&self) -> Kustomization {
        if self.plain { self.dev_plain() } else { local(Kustomization::on("k8s/overlays/dev")) }
    }

    /// The overlay `dev` with the plain-container component, whatever the suite runs.
    #[must_use]
    pub fn dev_plain(&self) -> Kustomization {
        local(Kustomization::on("k8s/overlays/dev")).component("k8s/components/plain-container")
    }

    /// A namespace's name with the prefix of this run.
    #[must_use]
    pub fn namespace(name: &str) -> String {
        format!("{}-{name}", Self::prefix())
    }

    /// What the names of this run's namespaces begin with.
    pub(crate) fn prefix() -> String {
        std::env::var(PREFIX).unwrap_or_else(|_| "e2e".to_owned())
    }

    /// A namespace that outlives the test, for what several share; made unless it is there.
    ///
    /// # Panics
    /// When it cannot be made.
    pub(crate) fn shared(name: &str, level: &str) -> String {
        Self::get();
        let name = Self::namespace(name);
        let namespace = serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": { "name": name, "labels": {
                Namespace::MARK: Self::prefix(), "pod-security.kubernetes.io/enforce": level,
            } }
        });
        kubectl(["apply", "-f", "-"]).input(namespace.to_string()).must();
        name
    }
}

/// Without the overlay's own namespace, and with the images that lie on the node.
fn local(overlay: Kustomization) -> Kustomization {
    let images = ["github-gists-api", "github-gists-api-plain", "github-gists-api-artifact", "redis"];
    images.into_iter().fold(overlay.without("Namespace", "dev"), Kustomization::local)
}

/// What the cluster lacks.
fn missing(plain: bool) -> Vec<String> {
    if let Err(refusal) = kubectl(["get", "--raw", "/readyz"]).run() {
        return vec![format!("a cluster that kubectl reaches (set KUBECONFIG): {refusal}")];
    }
    let mut missing = Vec::new();
    let mut need = |what: &str, arguments: &[&str]| match kubectl(arguments.iter().copied()).run() {
        Ok(found) if found.trim().is_empty() => missing.push(format!("{what}: there is none")),
        Ok(_) => {}
        Err(refusal) => missing.push(format!("{what}: {refusal}")),
    };
    if !plain {
        let ready = "runtime.wasi-http/ready=true";
        need("the runtime class (kubectl apply -k runtime-class)", &["get", "runtimeclass", "wasi-http"]);
        need(
            &format!("a node with the shim and the label {ready}"),
            &["get", "nodes", "-l", ready, "-o", "name"],
        );
    }
    need("Istio", &["get", "crd", "virtualservices.networking.istio.io"]);
    // Its ports answer only once there is a Gateway for them.
    let gateway = ["get", "pods", "--all-namespaces", "-l", "istio=ingressgateway", "-o", "name"];
    need("Istio's ingress gateway", &gateway);
    need("metrics-server", &["get", "--raw", "/apis/metrics.k8s.io/v1beta1"]);
    missing
}
