//! The cluster that `KUBECONFIG` names, and the check of what the tests need.

use std::sync::OnceLock;

use crate::{fail, kubectl};

/// With the value `plain`, the suite runs ordinary containers, for nodes without the shim.
const VARIANT: &str = "CLUSTER_TEST_VARIANT";

/// The prefix of the names of the tests' namespaces, so that two runs may share a cluster.
const PREFIX: &str = "CLUSTER_TEST_PREFIX";

/// A cluster that has what the tests need.
#[derive(Debug)]
pub struct Cluster {
    plain: bool,
}

impl Cluster {
    /// The cluster; checked once.
    ///
    /// # Panics
    /// If the cluster lacks something, with a list.
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

    /// A namespace's name with the prefix of this run.
    #[must_use]
    pub fn namespace(name: &str) -> String {
        format!("{}-{name}", Self::prefix())
    }

    /// The prefix of the names of this run's namespaces.
    pub(crate) fn prefix() -> String {
        std::env::var(PREFIX).unwrap_or_else(|_| "e2e".to_owned())
    }
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
    // The ports of the ingress gateway answer only once there is a Gateway for them.
    let gateway = ["get", "pods", "--all-namespaces", "-l", "istio=ingressgateway", "-o", "name"];
    need("Istio's ingress gateway", &gateway);
    // The namespaces of the tests enforce Pod Security `restricted`, which admits no sidecar without the plug-in.
    let agent = ["get", "daemonsets", "--all-namespaces", "-l", "k8s-app=istio-cni-node", "-o", "name"];
    need("Istio's CNI plug-in", &agent);
    need("metrics-server", &["get", "--raw", "/apis/metrics.k8s.io/v1beta1"]);
    missing
}
