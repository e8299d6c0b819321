//! The egress gateway: GitHub is the only destination outside of the cluster.

use cluster_e2e::{Access, Deployment, Fake, Namespace, Pod, eventually, kubectl, pods};
use serde_json::{Value, json};

use crate::support::{Site, proxy, tls_secret};

/// The default host of GitHub.
const GITHUB: &str = "api.github.com";

/// The address that the pods resolve GitHub to. No packet goes there: the sidecar routes by the server name in TLS.
const NOWHERE: &str = "192.0.2.10";

/// An egress gateway as the chart would install it.
fn egress_gateway(namespace: &Namespace) {
    let labels = json!({ "app": "istio-egressgateway", "istio": "egressgateway" });
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "istio-egressgateway" },
          "spec": { "replicas": 1, "selector": { "matchLabels": labels }, "template": {
            "metadata": {
                "labels": { "app": "istio-egressgateway", "istio": "egressgateway", "sidecar.istio.io/inject": "true" },
                "annotations": { "inject.istio.io/templates": "gateway" } },
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
                "containers": [{
                    "name": "istio-proxy", "image": "auto", "imagePullPolicy": "IfNotPresent",
                    "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
                }] } } } },
        { "apiVersion": "v1", "kind": "Service", "metadata": { "name": "istio-egressgateway" },
          "spec": { "selector": labels, "ports": [{ "name": "tls", "port": 443, "targetPort": 8443 }] } },
    ] });
    namespace.apply(&objects.to_string());
    let _ = Deployment::new(namespace, "istio-egressgateway").ready();
}

/// The replacement of GitHub: the ingress gateway with a certificate for that name, and the fake behind it.
fn github(namespace: &Namespace, secret: &str) {
    let fake = format!("fake-github.{}.svc.cluster.local", Fake::get().namespace());
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": { "name": "github" },
          "spec": { "selector": { "istio": "ingressgateway" }, "servers": [{
            "port": { "number": 443, "name": "https-github", "protocol": "HTTPS" },
            "hosts": [format!("./{GITHUB}")], "tls": { "mode": "SIMPLE", "credentialName": secret } }] } },
        { "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": "github" },
          // The pods must not use this route: for them, GitHub is outside of the mesh.
          "spec": { "hosts": [GITHUB], "gateways": ["github"], "exportTo": ["istio-system"],
            "http": [{ "route": [{ "destination": { "host": fake, "port": { "number": 8099 } } }] }] } },
    ] });
    namespace.apply(&objects.to_string());
}

/// The connections of this Envoy to the endpoints of the cluster with this suffix.
fn connections(pod: &Pod, cluster: &str) -> Result<u64, String> {
    let told = proxy(&pod.namespace, &pod.name, "clusters")?;
    let counts = told.lines().filter_map(|line| {
        let mut parts = line.split("::");
        let name = parts.next().filter(|name| name.ends_with(cluster))?;
        let counted = line.rsplit_once("::cx_total::")?;
        (!name.is_empty()).then(|| counted.1.parse::<u64>().unwrap_or_default())
    });
    Ok(counts.sum())
}

/// The API with the sidecar and the egress gateway. Only the namespace of the gateway and the address of GitHub differ
/// from the kustomize components.
fn site_behind_gateway(namespace: Namespace, outside: &Namespace, gateway: &str) -> Site {
    let add = |path: &str, value: Value| json!({ "op": "add", "path": path, "value": value });
    let sidecar = json!([add("/spec/egress/0/hosts/-", json!(format!("{}/*", outside.name())))]);
    let ingress = "istio-ingressgateway.istio-system.svc.cluster.local";
    let service_entry = json!([
        add("/spec/exportTo/-", json!(outside.name())),
        add("/spec/endpoints", json!([{ "address": ingress }])),
    ]);
    let virtual_service = json!([
        add("/spec/exportTo/-", json!(outside.name())),
        { "op": "replace", "path": "/spec/tls/0/route/0/destination/host", "value": gateway },
    ]);
    let environment = [
        ("GITHUB_API_URL", &*format!("https://{GITHUB}")),
        ("WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR", "192.0.2.0/24"),
        ("WASI_HTTP_HOST_OUTBOUND_CA_FILE", "/authority/ca.crt"),
    ];
    let volume = json!([{ "name": "authority", "configMap": { "name": "authority" } }]);
    let mount = json!([{ "name": "authority", "mountPath": "/authority", "readOnly": true }]);
    let deployment = json!([
        add("/spec/template/spec/hostAliases", json!([{ "ip": NOWHERE, "hostnames": [GITHUB] }])),
        add("/spec/template/spec/volumes", volume),
        add("/spec/template/spec/containers/0/volumeMounts", mount),
    ]);
    Site::within(namespace, 1, &["istio-mesh-sidecar", "istio-egress"], |all| {
        all.patch("Sidecar", "github-gists-api", &sidecar)
            .patch("ServiceEntry", "api-github-com", &service_entry)
            .patch("VirtualService", "github-gists-api-egress", &virtual_service)
            .env("github-gists-api", "github-gists-api", &environment)
            .patch("Deployment", "github-gists-api", &deployment)
    })
}

#[test]
fn the_only_way_out_leads_through_the_egress_gateway() {
    let _access = Access::shared();
    let outside = Namespace::new("egress-gateway");
    egress_gateway(&outside);
    let namespace = Namespace::new("egress");
    let secret = format!("{}-github", namespace.name());
    tls_secret(&["--name", &secret, "--host", GITHUB]);
    let authority = tls_secret(&["--name", &secret, "--show"]);
    let _secret = Secret(&secret);
    github(&outside, &secret);
    namespace.apply(
        &json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "authority" },
                 "data": { "ca.crt": authority } })
        .to_string(),
    );

    let gateway = format!("istio-egressgateway.{}.svc.cluster.local", outside.name());
    let site = site_behind_gateway(namespace, &outside, &gateway);
    let fake = Fake::get();
    let user = fake.user(2);
    eventually("GitHub's answer arrives by way of the egress gateway", || {
        let answer = site.get(&format!("/{user}"));
        if answer.status == 200 { Ok(()) } else { Err(format!("{}: {}", answer.status, answer.text())) }
    });
    assert!(!fake.calls(&user).is_empty());
    let pod = Deployment::api(&site.namespace).ready_pods().remove(0);
    assert!(connections(&pod, &format!("||{gateway}")).unwrap() > 0);
    assert_eq!(connections(&pod, &format!("||{GITHUB}")).unwrap(), 0);
    let between = pods(outside.name(), "istio=egressgateway").unwrap().remove(0);
    assert!(connections(&between, &format!("||{GITHUB}")).unwrap() > 0);
    assert_cluster_is_refused(&site, fake);
}

/// Each other destination is refused, including the cluster's own services.
fn assert_cluster_is_refused(site: &Site, fake: &Fake) {
    let url = format!("GITHUB_API_URL={}", fake.url());
    site.namespace
        .kubectl([
            "set",
            "env",
            "deployment/github-gists-api",
            &url,
            "WASI_HTTP_HOST_OUTBOUND_ALLOW_CIDR=10.0.0.0/8",
        ])
        .must();
    let _ = Deployment::api(&site.namespace).ready();
    let other = fake.user(2);
    let refused = eventually("the new pod is asked", || {
        let answer = site.get(&format!("/{other}"));
        if answer.status == 502 { Ok(answer) } else { Err(format!("{}: {}", answer.status, answer.text())) }
    });
    assert!(refused.text().contains("GitHub"), "{refused:?}");
    assert!(fake.calls(&other).is_empty());
}

/// Objects beside the gateway, removed at the end.
struct Secret<'a>(&'a str);

impl Drop for Secret<'_> {
    fn drop(&mut self) {
        let _ = kubectl(["-n", "istio-system", "delete", "secret", "--ignore-not-found", self.0]).run();
    }
}
