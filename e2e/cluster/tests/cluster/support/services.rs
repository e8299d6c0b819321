//! The services of `services/`, deployed for a test: `k8s/services` with the images on the node.

use cluster_e2e::{Gateway, Kustomization, Namespace, eventually, image};
use serde_json::json;
use testkit::http::blocking::Client;
use testkit::http::{Request, Response};

/// The kustomization with the local images of these services, one pod each, and readiness asked each second.
pub(crate) fn local(path: &str, services: &[&str]) -> Kustomization {
    let quick = json!([
        { "op": "add", "path": "/spec/replicas", "value": 1 },
        { "op": "replace", "path": "/spec/minReadySeconds", "value": 0 },
        { "op": "replace", "path": "/spec/template/spec/containers/0/readinessProbe/periodSeconds", "value": 1 },
    ]);
    services.iter().fold(Kustomization::on(path), |all, name| {
        let own = image(name);
        all.image(&format!("registry.example.com/{name}"), &own)
            .image(&format!("localhost/{name}"), &own)
            .patch("Deployment", &format!("{name}(-canary)?"), &quick)
    })
}

/// Exposes Services at the gateway, without TLS: each by its name in the namespace, and its port. Returns a client for each.
pub(crate) fn expose<const N: usize>(namespace: &Namespace, services: [(&str, u16); N]) -> [Client; N] {
    let host = |name: &str| format!("{name}.{}.test", namespace.name());
    let hosts: Vec<_> = services.iter().map(|(name, _)| format!("./{}", host(name))).collect();
    let mut items = vec![json!({
        "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": { "name": "test" },
        "spec": { "selector": { "istio": "ingressgateway" }, "servers": [
            { "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": hosts }] }
    })];
    for (name, port) in services {
        items.push(json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": format!("test-{name}") },
            "spec": { "hosts": [host(name)], "gateways": ["test"], "http": [
                { "route": [{ "destination": { "host": name, "port": { "number": port } } }] }] }
        }));
    }
    namespace.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string());
    services.map(|(name, _)| Gateway::get().http(&host(name)))
}

/// Lets the gateway reach the services of a namespace that denies by default.
pub(crate) fn let_gateway_in(namespace: &Namespace) {
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": "test" },
        "spec": { "podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{
            "from": [{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "istio-system" } } }],
            "ports": [{ "protocol": "TCP", "port": 8080 }] }] }
    });
    namespace.apply(&policy.to_string());
}

/// Lets the gateway ask each service of a namespace whose policies of the mesh deny by default.
pub(crate) fn authorize_gateway(namespace: &Namespace) {
    let policy = json!({
        "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": { "name": "test" },
        "spec": { "action": "ALLOW", "rules": [{
            "from": [{ "source": { "principals": ["cluster.local/ns/istio-system/sa/istio-ingressgateway"] } }],
            "to": [{ "operation": { "ports": ["8080"] } }] }] }
    });
    namespace.apply(&policy.to_string());
}

/// Waits until a request has this status; returns the response.
#[track_caller]
pub(crate) fn answered(client: &Client, request: &Request, status: u16) -> Response {
    eventually(&format!("{request:?} is answered with {status}"), || {
        let response = client.send(request).map_err(|error| error.to_string())?;
        if response.status == status {
            Ok(response)
        } else {
            Err(format!("{}: {}", response.status, response.text()))
        }
    })
}
