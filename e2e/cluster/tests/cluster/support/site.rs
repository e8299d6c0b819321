//! The API behind the ingress gateway, with the test's own host name and certificate.

use std::process::Command;

use cluster_e2e::{
    Cluster, Deployment, Fake, Gateway, Kustomization, Namespace, Pod, eventually, fail, image, kubectl,
};
use serde_json::json;
use testkit::http::blocking::Client;
use testkit::http::{Request, Response};
use testkit::tls::Trust;

/// The API, deployed for one test. Dropping the site removes its objects beside the gateway, in `istio-system`.
pub(crate) struct Site {
    pub(crate) namespace: Namespace,
    /// The host name at the gateway.
    pub(crate) host: String,
    certificate: String,
}

impl Site {
    /// The EnvoyFilter of a test that trusts a proxy before the gateway; the namespace's name follows.
    pub(crate) const TRUSTED_PROXY: &str = "trusted-proxy";

    /// Deploys the base with `istio-ingress`, these components, `change`, and this number of pods; waits until the gateway answers.
    pub(crate) fn new(
        name: &str,
        replicas: u32,
        components: &[&str],
        change: impl FnOnce(Kustomization) -> Kustomization,
    ) -> Self {
        Self::within(Namespace::new(name), replicas, components, change)
    }

    /// As [`Site::new`], in an existing namespace.
    pub(crate) fn within(
        namespace: Namespace,
        replicas: u32,
        components: &[&str],
        change: impl FnOnce(Kustomization) -> Kustomization,
    ) -> Self {
        let base = with(Kustomization::on("k8s/base").component("k8s/components/istio-ingress"), components);
        let site = Self::apply(namespace, |site| {
            let all = change(site.at_gateway(adapt(base, replicas)));
            all.keeping_namespaces().render(site.namespace.name(), Some(site.namespace.name()))
        });
        if replicas > 0 {
            site.up();
        }
        site
    }

    /// Applies the base with `istio-ingress` and these components to a site of [`Site::within`].
    pub(crate) fn again(&self, replicas: u32, components: &[&str]) {
        let base = with(Kustomization::on("k8s/base").component("k8s/components/istio-ingress"), components);
        let all = self.at_gateway(adapt(base, replicas)).keeping_namespaces();
        let objects = all.render(self.namespace.name(), Some(self.namespace.name()));
        kubectl(["apply", "-f", "-"]).input(objects).must();
    }

    /// Deploys the base with these components only, without ingress, to a namespace.
    pub(crate) fn bare(
        namespace: Namespace,
        replicas: u32,
        components: &[&str],
        change: impl FnOnce(Kustomization, &Self) -> Kustomization,
    ) -> Self {
        let base = with(Kustomization::on("k8s/base"), components);
        let site = Self::apply(namespace, |site| {
            let all = change(adapt(base, replicas), site).keeping_namespaces();
            all.render(site.namespace.name(), Some(site.namespace.name()))
        });
        let _ = Deployment::api(&site.namespace).ready();
        site
    }

    /// Deploys an overlay to a namespace of the test, whose pods may have sidecars. The way out is open to the fake: the test cluster has
    /// no egress gateway for GitHub.
    pub(crate) fn overlay(
        name: &str,
        overlay: &str,
        replicas: u32,
        change: impl FnOnce(Kustomization, &str) -> Kustomization,
    ) -> Self {
        let all = Kustomization::on(&format!("k8s/overlays/{overlay}"))
            .without("Sidecar", "github-gists-api")
            .without("ServiceEntry", "api-github-com")
            .without("Gateway", "github-gists-api-egress")
            .without("VirtualService", "github-gists-api-egress")
            .patch("NetworkPolicy", "github-gists-api-egress", &to_the_fake());
        let site = Self::apply(Namespace::new(name), |site| {
            let rendered = change(site.at_gateway(adapt(all, replicas)), &site.host);
            let moved = format!("namespace: {}\n", site.namespace.name());
            rendered.render(site.namespace.name(), None).replace(&format!("namespace: {overlay}\n"), &moved)
        });
        site.up();
        site
    }

    fn apply(namespace: Namespace, rendered: impl FnOnce(&Self) -> String) -> Self {
        let mut site =
            Self { host: format!("{}.gists.local", namespace.name()), namespace, certificate: String::new() };
        let secret = site.secret();
        tls_secret(&["--name", &secret, "--host", &site.host, "--host", &format!("www.{}", site.host)]);
        site.certificate = tls_secret(&["--name", &secret, "--show"]);
        let mut objects = rendered(&site);
        // Beside the gateway, there may be real objects with these names.
        for (_, shared) in BESIDE_GATEWAY {
            let own = format!("name: {shared}-{}\n", site.namespace.name());
            objects = objects.replace(&format!("name: {shared}\n"), &own);
        }
        kubectl(["apply", "-f", "-"]).input(objects).must();
        site
    }

    fn up(&self) {
        let _ = Deployment::api(&self.namespace).ready();
        self.answers(&Request::get("/health"));
    }

    /// Replaces the host names and the certificate of the manifests by those of the test.
    fn at_gateway(&self, all: Kustomization) -> Kustomization {
        let names = [self.host.clone(), format!("www.{}", self.host)];
        let own = json!(names.each_ref().map(|name| format!("./{name}")));
        let replace =
            |path: &str, value: serde_json::Value| json!({ "op": "replace", "path": path, "value": value });
        let gateway = json!([
            replace("/spec/servers/0/hosts", own.clone()),
            replace("/spec/servers/1/hosts", own),
            replace("/spec/servers/1/tls/credentialName", json!(self.secret())),
        ]);
        let name = "github-gists-api";
        all.patch("Gateway", name, &gateway).patch(
            "VirtualService",
            name,
            &json!([replace("/spec/hosts", json!(names))]),
        )
    }

    /// The name of the certificate's Secret; tests do not touch the real one.
    pub(crate) fn secret(&self) -> String {
        format!("{}-tls", self.namespace.name())
    }

    /// The certificate, PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A client of the gateway, with TLS.
    pub(crate) fn https(&self) -> Client {
        self.https_as(&self.host)
    }

    /// A client of the gateway with TLS, with another host name.
    pub(crate) fn https_as(&self, host: &str) -> Client {
        Client::https(Gateway::get().https, host, Trust::pem(&self.certificate))
    }

    /// A client of the gateway, without TLS.
    pub(crate) fn http(&self) -> Client {
        Gateway::get().http(&self.host)
    }

    /// Sends one request with TLS. Fails if there is no response.
    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        self.https().send(request).unwrap_or_else(|error| fail(format!("{request:?}: {error}")))
    }

    /// Waits until a request has the status 200. While the gateway gets its configuration, it may not even listen.
    #[track_caller]
    pub(crate) fn answers(&self, request: &Request) {
        eventually(&format!("{} answers {request:?}", self.host), || {
            let answer = self.https().send(request).map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text())) }
        });
    }

    /// `GET` with TLS. Fails if there is no response.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Response {
        self.send(&Request::get(target))
    }

    /// The addresses of the API's pods.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let pods = Deployment::api(&self.namespace).ready_pods();
        let own = pods.iter().filter(|pod: &&Pod| pod.text("/metadata/labels/fault").is_empty());
        own.map(|pod| pod.text("/status/podIP").to_owned()).collect()
    }
}

/// The kinds and names of the components' objects in `istio-system`.
const BESIDE_GATEWAY: [(&str, &str); 3] = [
    ("requestauthentication", "github-gists-api-admin"),
    ("envoyfilter", "github-gists-api-rate-limit"),
    ("telemetry", "github-gists-api-gateway-log"),
];

impl Drop for Site {
    fn drop(&mut self) {
        let name = self.namespace.name();
        let beside = BESIDE_GATEWAY.into_iter().chain([("envoyfilter", Self::TRUSTED_PROXY)]);
        let objects = beside
            .map(|(kind, object)| format!("{kind}/{object}-{name}"))
            .chain([format!("secret/{}", self.secret())]);
        let asked = ["-n", "istio-system", "delete", "--ignore-not-found", "--wait=false"];
        let _ = kubectl(asked.into_iter().map(str::to_owned).chain(objects)).run();
    }
}

/// Adds these components.
fn with(base: Kustomization, components: &[&str]) -> Kustomization {
    components.iter().fold(base, |all, component| all.component(&format!("k8s/components/{component}")))
}

/// A patch of a NetworkPolicy that allows the way to the fake GitHub, which has a private address.
pub(crate) fn to_the_fake() -> serde_json::Value {
    json!([{ "op": "add", "path": "/spec/egress/-", "value": {
        "to": [{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": Fake::get().namespace() } } }],
        "ports": [{ "protocol": "TCP", "port": 8099 }] } }])
}

/// The variant of the suite, with this number of pods, local images, and the fake GitHub.
fn adapt(all: Kustomization, replicas: u32) -> Kustomization {
    let all = if Cluster::get().plain() { all.component("k8s/components/plain-container") } else { all };
    let (api, plain) = (image("github-gists-api"), image("github-gists-api-plain"));
    let name = "github-gists-api";
    [name, "github-gists-api-canary", "registry.example.com/github-gists-api"]
        .iter()
        .fold(all, |all, known| all.image(known, &api))
        .image("github-gists-api-plain", &plain)
        .image("registry.example.com/github-gists-api-plain", &plain)
        .image("github-gists-api-canary-plain", &plain)
        .component("k8s/components/quick-start")
        .replicas(replicas)
        // For the canary, too.
        .env(
            "github-gists-api.*",
            name,
            &[("GITHUB_API_URL", &Fake::get().url()), ("WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR", "10.0.0.0/8")],
        )
}

/// The output of `scripts/tls-secret` with these arguments.
#[track_caller]
pub(crate) fn tls_secret(arguments: &[&str]) -> String {
    let output = Command::new(testkit::paths::workspace().join("scripts/tls-secret"))
        .args(arguments)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "tls-secret {arguments:?}: {}: {said}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
