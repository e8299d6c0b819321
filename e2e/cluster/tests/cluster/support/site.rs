//! The API behind the ingress gateway, under a host name and a certificate of the test's own.

use std::process::Command;

use cluster_e2e::{
    Cluster, Deployment, Fake, Gateway, Kustomization, Namespace, Pod, eventually, fail, image, kubectl,
};
use serde_json::json;
use testkit::http::blocking::Client;
use testkit::http::{Request, Response};
use testkit::tls::Trust;

/// The API, deployed for one test. What stands beside the gateway, in `istio-system`, goes with it.
pub(crate) struct Site {
    pub(crate) namespace: Namespace,
    /// The host name it has at the gateway.
    pub(crate) host: String,
    certificate: String,
}

impl Site {
    /// The base with `istio-ingress`, these components and what `change` does, with so many pods, once the gateway answers.
    pub(crate) fn new(
        name: &str,
        replicas: u32,
        components: &[&str],
        change: impl FnOnce(Kustomization) -> Kustomization,
    ) -> Self {
        Self::within(Namespace::new(name), replicas, components, change)
    }

    /// The same, in a namespace that is there.
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

    /// The base with these components alone, without a way in that would be known here.
    pub(crate) fn bare(
        name: &str,
        replicas: u32,
        components: &[&str],
        change: impl FnOnce(Kustomization, &Self) -> Kustomization,
    ) -> Self {
        let base = with(Kustomization::on("k8s/base"), components);
        let site = Self::apply(Namespace::new(name), |site| {
            let all = change(adapt(base, replicas), site).keeping_namespaces();
            all.render(site.namespace.name(), Some(site.namespace.name()))
        });
        let _ = Deployment::api(&site.namespace).ready();
        site
    }

    /// What an overlay says, in a namespace of the test's in place of its own.
    pub(crate) fn overlay(
        name: &str,
        overlay: &str,
        replicas: u32,
        change: impl FnOnce(Kustomization, &str) -> Kustomization,
    ) -> Self {
        let all = Kustomization::on(&format!("k8s/overlays/{overlay}")).without("Namespace", overlay);
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
        // Beside the gateway there may be real ones of these names.
        for shared in BESIDE_GATEWAY {
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

    /// The test's host names and certificate in place of the manifests'.
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

    /// The certificate's name: not the real one's, which tests leave alone.
    pub(crate) fn secret(&self) -> String {
        format!("{}-tls", self.namespace.name())
    }

    /// The certificate, PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A client at the gateway, over TLS.
    pub(crate) fn https(&self) -> Client {
        self.https_as(&self.host)
    }

    /// The same, under another host name.
    pub(crate) fn https_as(&self, host: &str) -> Client {
        Client::https(Gateway::get().https, host, Trust::pem(&self.certificate))
    }

    /// A client at the gateway, in the clear.
    pub(crate) fn http(&self) -> Client {
        Gateway::get().http(&self.host)
    }

    /// One request over TLS that must be answered, by whatever status.
    #[track_caller]
    pub(crate) fn send(&self, request: &Request) -> Response {
        self.https().send(request).unwrap_or_else(|error| fail(format!("{request:?}: {error}")))
    }

    /// Waits until a request is answered by 200; while the gateway learns of something, it may have no port even.
    #[track_caller]
    pub(crate) fn answers(&self, request: &Request) {
        eventually(&format!("{} answers {request:?}", self.host), || {
            let answer = self.https().send(request).map_err(|error| error.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text())) }
        });
    }

    /// `GET` over TLS that must be answered, by whatever status.
    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Response {
        self.send(&Request::get(target))
    }

    /// The addresses of the API's own pods.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let pods = Deployment::api(&self.namespace).ready_pods();
        let own = pods.iter().filter(|pod: &&Pod| pod.text("/metadata/labels/fault").is_empty());
        own.map(|pod| pod.text("/status/podIP").to_owned()).collect()
    }
}

/// Objects of the components that lie in `istio-system`, with their kinds.
const BESIDE_GATEWAY: [&str; 2] = ["github-gists-api-admin", "github-gists-api-rate-limit"];

impl Drop for Site {
    fn drop(&mut self) {
        let name = self.namespace.name();
        let objects = [
            format!("secret/{}", self.secret()),
            format!("requestauthentication/{}-{name}", BESIDE_GATEWAY[0]),
            format!("envoyfilter/{}-{name}", BESIDE_GATEWAY[1]),
        ];
        let asked = ["-n", "istio-system", "delete", "--ignore-not-found", "--wait=false"];
        let _ = kubectl(asked.into_iter().map(str::to_owned).chain(objects)).run();
    }
}

/// These components on top.
fn with(base: Kustomization, components: &[&str]) -> Kustomization {
    components.iter().fold(base, |all, component| all.component(&format!("k8s/components/{component}")))
}

/// The variant that the suite runs, so many pods, the test's images, the fake GitHub.
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
        // The canary's too.
        .env(
            "github-gists-api.*",
            name,
            &[("GITHUB_API_URL", &Fake::get().url()), ("WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR", "10.0.0.0/8")],
        )
}

/// What `scripts/tls-secret` says to these arguments.
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
