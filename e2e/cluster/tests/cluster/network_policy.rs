//! NetworkPolicies, enforced by the network: what `k8s/components/network-policy` and `k8s/components/redis` deny is denied, and what the
//! service needs is allowed.

use cluster_e2e::{Access, Deployment, Fake, Namespace, Pod, eventually, image, kubectl, pods, scrape};
use serde_json::json;
use testkit::http::Request;

use crate::support::{Site, to_the_fake};

/// If this variable is set, the cluster's network plug-in is known to enforce NetworkPolicies.
const ENFORCED: &str = "CLUSTER_TEST_NETWORK_POLICIES";

/// The label of the service's pods, to which the policies apply.
const SERVICE: &str = "github-gists-api";

/// Whether the cluster enforces NetworkPolicies.
fn enforced() -> bool {
    let ours = ["-n", "kube-system", "get", "daemonset", "kube-network-policies", "-o", "name"];
    std::env::var_os(ENFORCED).is_some() || kubectl(ours).run().is_ok()
}

/// A pod with this label `app`, from which the test connects. It is never Ready, so that no Service sends it requests.
fn client(namespace: &Namespace, name: &str, app: &str) -> Pod {
    let pod = json!({ "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": app, "client": name } },
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "securityContext": { "runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "client", "image": image("busybox"), "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"],
                "readinessProbe": { "exec": { "command": ["false"] } },
                "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            }] } });
    namespace.apply(&pod.to_string());
    eventually(&format!("client {name} runs"), || {
        let found = pods(namespace.name(), &format!("client={name}"))?;
        let runs = |pod: &Pod| pod.containers().iter().any(|one| one.has_state("running"));
        found.into_iter().find(runs).ok_or_else(|| "not yet".to_owned())
    })
}

/// Waits until the client can connect to each of these addresses, or until it can to none. An address is `HOST:PORT`.
#[track_caller]
fn reaches(client: &Pod, all: bool, addresses: &[&str]) {
    let attempts = addresses.iter().map(|address| {
        let (host, port) = address.rsplit_once(':').expect("a host and a port");
        // A policy drops packets, so that a denied connection shows as no answer.
        format!("(timeout 10 nc -w 3 {host} {port} </dev/null >/dev/null 2>&1 && echo {address}) &")
    });
    let script = format!("{} wait", attempts.collect::<Vec<_>>().join(" "));
    let what = if all { "reaches each of" } else { "reaches none of" };
    eventually(&format!("{} {what} {addresses:?}", client.name), || {
        let asked =
            ["-n", &client.namespace, "exec", &client.name, "-c", "client", "--", "sh", "-c", &script];
        let mut reached: Vec<String> = kubectl(asked).run()?.lines().map(str::to_owned).collect();
        reached.sort();
        let mut wanted = if all { addresses.to_vec() } else { Vec::new() };
        wanted.sort_unstable();
        if reached == wanted { Ok(()) } else { Err(format!("it reaches {reached:?}")) }
    });
}

/// Waits until a name in the cluster resolves in the client's pod.
#[track_caller]
fn resolves(client: &Pod, name: &str) {
    eventually(&format!("{} resolves {name}", client.name), || {
        let asked = [
            "-n",
            &client.namespace,
            "exec",
            &client.name,
            "-c",
            "client",
            "--",
            "timeout",
            "10",
            "nslookup",
            name,
        ];
        kubectl(asked).run()
    });
}

#[test]
fn strangers_are_denied_and_the_service_works() {
    let _access = Access::shared();
    if !enforced() {
        println!(
            "NOT RUN: nothing is known to enforce NetworkPolicies; set {ENFORCED} if the network plug-in does"
        );
        return;
    }
    let fake = Fake::get();
    let site = Site::new("network-policy", 1, &["network-policy", "redis"], |all| {
        all.image("redis", &image("redis"))
    });
    let _ = Deployment::new(&site.namespace, "github-gists-redis").ready();
    let api = Deployment::api(&site.namespace).ready_pods().remove(0);
    let (name, pod) = (site.namespace.name(), api.text("/status/podIP"));
    let (service, requests, admin) =
        (format!("{SERVICE}.{name}.svc.cluster.local:80"), format!("{pod}:8080"), format!("{pod}:9090"));
    let redis = format!("github-gists-redis.{name}.svc.cluster.local:6379");
    let github = fake.url().trim_start_matches("http://").to_owned();

    // Three pods: outside of the namespace, in the namespace, and one to which the service's own policies apply.
    let outside = Namespace::new("network-policy-outside");
    let stranger = client(&outside, "stranger", "stranger");
    let bystander = client(&site.namespace, "bystander", "bystander");
    let twin = client(&site.namespace, "twin", SERVICE);
    // The network works: what no policy denies is reached.
    reaches(&stranger, true, &[&github]);
    reaches(&stranger, false, &[&service, &requests, &admin, &redis]);
    // The default of the namespace: names resolve, and nothing else is allowed.
    resolves(&bystander, github.split(':').next().expect("a host"));
    reaches(&bystander, false, &[&github, &service, &requests, &admin, &redis]);
    // Redis is the only one of these destinations that the policies allow the service. The API server is at a private address.
    reaches(&twin, true, &[&redis]);
    reaches(&twin, false, &[&github, &requests, &admin, "kubernetes.default.svc.cluster.local:443"]);

    the_monitoring_sees_the_admin_port_alone(&requests, &admin);
    the_service_itself_asks_no_other_address(&site, &api, fake);
}

/// Prometheus may scrape the admin port from the namespace `monitoring`.
fn the_monitoring_sees_the_admin_port_alone(requests: &str, admin: &str) {
    let monitoring =
        Namespace::exactly("monitoring", &[("pod-security.kubernetes.io/enforce", "restricted")]);
    let scraper = client(&monitoring, "scraper", "prometheus");
    reaches(&scraper, true, &[admin]);
    reaches(&scraper, false, &[requests]);
}

/// The gateway reaches the service, and the service its Redis. GitHub is at a private address here, which the policies do not allow.
fn the_service_itself_asks_no_other_address(site: &Site, api: &Pod, fake: &Fake) {
    let _ = site.get("/health").is(200);
    eventually("the service is connected to Redis", || {
        let connections =
            scrape(api, 9090)?.sum("wasi_http_host_keyvalue_remote_connections", &[("store", "shared")]);
        if connections >= 1.0 { Ok(()) } else { Err(format!("{connections} connections")) }
    });
    let user = fake.user(1);
    let refused = site.get(&format!("/{user}"));
    assert!(matches!(refused.status, 502 | 504), "{refused:?}");
    assert!(fake.calls(&user).is_empty());

    // The policy was the reason: with one more destination, the page arrives.
    let change = to_the_fake().to_string();
    site.namespace
        .kubectl(["patch", "networkpolicy", "github-gists-api-egress", "--type=json", "--patch", &change])
        .must();
    site.answers(&Request::get(&format!("/{user}")));
}
