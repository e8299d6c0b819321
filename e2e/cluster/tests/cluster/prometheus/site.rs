//! The API behind the gateway, in the clear, under a host name of its own.

use cluster_e2e::http::Response;
use cluster_e2e::{Cluster, Deployment, Fake, Gateway, Kustomization, Namespace, eventually, image};
use serde_json::json;

/// The API, deployed for this test.
pub(super) struct Site {
    pub(super) namespace: Namespace,
    host: String,
}

impl Site {
    /// The base with these components and so many pods. It need not be ready yet.
    pub(super) fn begin(namespace: Namespace, replicas: usize, components: &[&str]) -> Self {
        let name = namespace.name().to_owned();
        let (plain, host) = (Cluster::get().plain(), format!("{name}.gists.local"));
        let variant = if plain { "github-gists-api-plain" } else { "github-gists-api" };
        let api = "github-gists-api";
        let base = Kustomization::on("k8s/base");
        let base = if plain { base.component("k8s/components/plain-container") } else { base };
        let all = components.iter().fold(base, |all, path| all.component(path));
        let settings =
            [("GITHUB_API_URL", &*Fake::get().url()), ("WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR", "10.0.0.0/8")];
        all.without("HorizontalPodAutoscaler", api)
            .env(api, api, &settings)
            .patch(
                "Deployment",
                api,
                &json!([
                    { "op": "replace", "path": "/spec/template/spec/containers/0/image", "value": image(variant) },
                    { "op": "add", "path": "/spec/replicas", "value": replicas },
                ]),
            )
            .apply(&namespace);
        let gateway = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": { "name": api },
            "spec": { "selector": { "istio": "ingressgateway" }, "servers": [
                { "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": [host] },
            ] }
        });
        let route = json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": api },
            "spec": { "hosts": [host], "gateways": [api], "http": [
                { "route": [{ "destination": { "host": api, "port": { "number": 80 } } }] },
            ] }
        });
        namespace
            .apply(&json!({ "apiVersion": "v1", "kind": "List", "items": [gateway, route] }).to_string());
        Self { namespace, host }
    }

    /// Waits until all pods are ready, and the gateway answers.
    #[track_caller]
    pub(super) fn ready(&self) {
        let _ = Deployment::api(&self.namespace).ready();
        eventually(&format!("the gateway answers for {}", self.host), || {
            let answer = self.get("/health");
            if answer.status == 200 { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text())) }
        });
    }

    /// `GET` that must be answered, by whatever status.
    #[track_caller]
    pub(super) fn get(&self, target: &str) -> Response {
        Gateway::get().http(&self.host).get(target)
    }
}
