//! Ingress by Kubernetes' Gateway API: a gateway in the namespace, which admits `restricted` pods only.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};

use cluster_e2e::{Access, Deployment, Fake, Namespace, eventually, kubectl, pods};
use serde_json::json;
use testkit::http::Request;
use testkit::http::blocking::Client;
use testkit::tls::Trust;

use crate::support::Site;

/// `kubectl port-forward` to one port of a Service: without a load balancer, not every machine reaches the gateway.
struct Forward {
    child: Child,
    /// Kept open: kubectl ends if it cannot write to its output.
    _said: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Forward {
    fn to(namespace: &Namespace, service: &str, port: u16) -> Result<Self, String> {
        let mut child = Command::new("kubectl")
            .args([
                "-n",
                namespace.name(),
                "port-forward",
                &format!("service/{service}"),
                &format!(":{port}"),
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // "Forwarding from 127.0.0.1:40123 -> 443"
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let _ = said.read_line(&mut line);
        let address = line.split_whitespace().find_map(|word| word.parse().ok());
        // Created before the line is checked, so that the process ends in each case.
        let forward =
            Self { child, _said: said, address: address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))) };
        address.map(|_| forward).ok_or_else(|| format!("kubectl port-forward says {line:?}"))
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The two clients of a gateway of the namespace, and what keeps them connected.
struct OwnGateway {
    http: Client,
    https: Client,
    _forwards: [Forward; 2],
    _grant: Grant,
}

/// The ReferenceGrant with this name beside the certificates, deleted at the end.
struct Grant(String);

impl Drop for Grant {
    fn drop(&mut self) {
        let _ =
            kubectl(["-n", "istio-system", "delete", "referencegrant", "--ignore-not-found", &self.0]).run();
    }
}

/// Deploys the base with `gateway-api` and these components, and waits until its gateway answers.
fn deploy(namespace: Namespace, components: &[&str]) -> (Site, OwnGateway) {
    let components: Vec<_> = ["gateway-api"].into_iter().chain(components.iter().copied()).collect();
    let site = Site::bare(namespace, 2, &components, |all, site| {
        let hosts = json!([{ "op": "replace", "path": "/spec/hostnames", "value": [site.host] }]);
        all.patch("HTTPRoute", "github-gists-api", &hosts)
            .patch("HTTPRoute", "github-gists-api-redirect", &hosts)
            .patch(
                "Gateway",
                "github-gists-api",
                &json!([
                    // The test cluster has no load balancer, so the gateway gets no address.
                    { "op": "add", "path": "/metadata/annotations", "value": { "networking.istio.io/service-type": "ClusterIP" } },
                    { "op": "replace", "path": "/spec/listeners/1/tls/certificateRefs/0/name", "value": site.secret() },
                ]),
            )
            .patch(
                "ReferenceGrant",
                "github-gists-api",
                &json!([
                    { "op": "replace", "path": "/metadata/name", "value": site.secret() },
                    { "op": "replace", "path": "/spec/from", "value": [
                        { "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": site.namespace.name() }] },
                    { "op": "replace", "path": "/spec/to/0/name", "value": site.secret() },
                ]),
            )
    });
    let grant = Grant(site.secret());
    eventually("the gateway is programmed", || {
        let told = site
            .namespace
            .kubectl(["get", "gateways.gateway.networking.k8s.io", "github-gists-api"])
            .json()?;
        let conditions = told["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let programmed = conditions.iter().any(|one| one["type"] == "Programmed" && one["status"] == "True");
        programmed.then_some(()).ok_or_else(|| format!("{conditions:?}"))
    });
    let _ = Deployment::new(&site.namespace, "github-gists-api-istio").ready();
    let answering = |port: u16, status: u16, client: &dyn Fn(SocketAddr) -> Client| {
        eventually(&format!("port {port} of the gateway answers by {status}"), || {
            // A new port-forward for each attempt: it ends at the first refused connection.
            let forward = Forward::to(&site.namespace, "github-gists-api-istio", port)?;
            let client = client(forward.address);
            let answer = client.send(&Request::get("/health")).map_err(|error| error.to_string())?;
            if answer.status == status { Ok((forward, client)) } else { Err(format!("{answer:?}")) }
        })
    };
    let (plain, http) = answering(80, 301, &|address| Client::http(address, &site.host));
    let trust = Trust::pem(site.certificate());
    let (tls, https) = answering(443, 200, &|address| Client::https(address, &site.host, trust.clone()));
    (site, OwnGateway { http, https, _forwards: [plain, tls], _grant: grant })
}

/// The operators' routes are closed at the gateway.
fn closed(gateway: &OwnGateway) {
    for (method, target) in
        [("GET", "/metrics"), ("HEAD", "/metrics"), ("DELETE", "/cache"), ("GET", "/x/../metrics")]
    {
        let refused = gateway.https.send(&Request::new(method, target)).unwrap();
        assert_eq!(refused.status, 403, "{method} {target}: {refused:?}");
    }
    assert_eq!(gateway.https.get("/cache").status, 404);
}

#[test]
fn a_gateway_of_the_namespace_s_own_serves_the_same() {
    let _access = Access::shared();
    let (site, gateway) = deploy(Namespace::new("gateway-api"), &[]);
    // The selectors of the service do not match the gateway's pods.
    let own = pods(site.namespace.name(), "app=github-gists-api").unwrap();
    assert!(own.iter().all(|pod| pod.container("istio-proxy").is_none()), "{own:?}");
    let user = Fake::get().user(2);
    let page = gateway.https.get(&format!("/{user}")).is(200).json();
    assert_eq!(page["data"].as_array().unwrap().len(), 2);
    let moved = gateway.http.get(&format!("/{user}?page=2")).is(301);
    assert_eq!(moved.header("location"), Some(format!("https://{}/{user}?page=2", site.host).as_str()));
    closed(&gateway);
}

/// The mesh's policies deny by default. They must not close the gateway, which stands in the same namespace.
#[test]
fn a_gateway_of_the_namespace_s_own_reaches_pods_in_the_mesh() {
    let _access = Access::shared();
    let namespace = Namespace::new("gateway-mesh");
    let (site, gateway) = deploy(namespace, &["istio-mesh-sidecar"]);
    let meshed = pods(site.namespace.name(), "app=github-gists-api").unwrap();
    assert!(meshed.iter().all(|pod| pod.object.to_string().contains("istio-proxy")), "{meshed:?}");
    let user = Fake::get().user(1);
    let _ = gateway.https.get(&format!("/{user}")).is(200);
    let _ = gateway.http.get(&format!("/{user}")).is(301);
    closed(&gateway);
}
