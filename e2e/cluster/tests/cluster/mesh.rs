//! Istio's sidecar in the pods: strict mutual TLS, callers by identity, all metrics at one port, and a Linux sidecar beside it.

use cluster_e2e::{
    Access, Deployment, Fake, Load, Namespace, Pod, ScriptedResponse, eventually, figure, image, kubectl,
};
use serde_json::json;
use testkit::Samples;
use testkit::http::Request;

use crate::support::{Site, ask, client};

/// The metrics at a port of the pod, requested from outside of the mesh.
fn stats(pod: &Pod) -> Result<Samples, String> {
    let path = format!("/api/v1/namespaces/{}/pods/{}:15020/proxy/stats/prometheus", pod.namespace, pod.name);
    kubectl(["get", "--raw", &path]).run().map(|text| Samples::parse(&text))
}

#[test]
fn a_meshed_pod_takes_mutual_tls_from_known_callers_alone() {
    let _access = Access::shared();
    // A Linux container beside the WebAssembly container, and Istio's container beside both.
    let companion = json!([{ "op": "add", "path": "/spec/template/spec/containers/-", "value": {
        "name": "companion", "image": image("busybox"), "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "3600"], "env": [{ "name": "COMPANION", "value": "its own" }],
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
    } }]);
    let site = Site::new("mesh", 1, &["istio-mesh-sidecar", "istio-telemetry"], |all| {
        all.patch("Deployment", "github-gists-api", &companion)
    });
    let pod = Deployment::api(&site.namespace).ready().remove(0);
    let names: Vec<_> = pod.containers().into_iter().map(|container| container.name).collect();
    let inits = pod.object["spec"]["initContainers"].as_array().into_iter().flatten();
    let inits: Vec<_> = inits.filter_map(|container| container["name"].as_str()).collect();
    assert!(names.iter().any(|name| name == "companion"), "{names:?}");
    // Istio's CNI plug-in redirects the traffic: Pod Security `restricted` admits no init container with NET_ADMIN.
    assert_eq!(inits.first(), Some(&"istio-validation"), "{inits:?}");
    // A native sidecar, or an ordinary container, as Istio's configuration says.
    assert!(
        inits.contains(&"istio-proxy") || names.iter().any(|name| name == "istio-proxy"),
        "{names:?} {inits:?}"
    );
    let environment = site.namespace.kubectl(["exec", &pod.name, "-c", "companion", "--", "env"]).must();
    assert!(environment.lines().any(|line| line == "COMPANION=its own"), "{environment}");
    assert!(!environment.contains("GITHUB_API_URL"), "{environment}");

    // The pod knows the gateway by its certificate, not by a header, which each client could send.
    let _ = site.get("/health").is(200);
    let address = pod.text("/status/podIP").to_owned();
    let outsider = client(&site.namespace, "outsider", false);
    // The network path works: each client may read Envoy's own health.
    let told = eventually("the outsider reaches the pod", || {
        ask(&outsider, &format!("http://{address}:15021/healthz/ready"))
    });
    assert!(told.contains("200 OK"), "{told}");
    // Nothing else is served without mutual TLS: by the pod's address, by the service's name, or at the admin port.
    for url in [
        format!("http://{address}:8080/health"),
        format!("http://{address}:9090/metrics"),
        "http://github-gists-api/health".to_owned(),
    ] {
        let refused = ask(&outsider, &url).unwrap_err();
        assert!(!refused.contains("HTTP/1.1"), "{url}: {refused}");
    }

    // In the mesh, callers have identities. A policy admits one caller and refuses another.
    let (friend, stranger) =
        (client(&site.namespace, "friend", true), client(&site.namespace, "stranger", true));
    let principal = format!("cluster.local/ns/{}/sa/friend", site.namespace.name());
    site.namespace.apply(
        &json!({
            "apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": { "name": "friend" },
            "spec": { "selector": { "matchLabels": { "app": "github-gists-api" } }, "action": "ALLOW",
                "rules": [{ "from": [{ "source": { "principals": [principal] } }],
                            "to": [{ "operation": { "methods": ["GET"], "paths": ["/health"] } }] }] }
        })
        .to_string(),
    );
    let told = eventually("the friend is let in", || ask(&friend, "http://github-gists-api/health"));
    assert!(told.contains("healthy"), "{told}");
    let refused = ask(&friend, "http://github-gists-api/ready").unwrap_err();
    assert!(refused.contains("403 Forbidden"), "{refused}");
    let refused = ask(&stranger, "http://github-gists-api/health").unwrap_err();
    assert!(refused.contains("403 Forbidden"), "{refused}");

    all_metrics_at_one_port(&site, &pod);
    a_line_for_what_failed_or_was_slow(&site, &pod);
}

/// The sidecar's access log, which istio-telemetry samples.
fn a_line_for_what_failed_or_was_slow(site: &Site, pod: &Pod) {
    let fake = Fake::get();
    let (failed, slow, well) = (fake.user(1), fake.user(1), fake.user(1));
    fake.always(&failed, &ScriptedResponse::status(503));
    fake.always(&slow, &ScriptedResponse { delay_ms: 1_500, ..ScriptedResponse::genuine() });
    for (user, status) in [(&well, 200), (&failed, 502), (&slow, 200)] {
        let _ = site.get(&format!("/{user}")).is(status);
    }
    let inbound = |log: &str, user: &str| {
        log.lines()
            .any(|line| line.contains(&format!(r#""path":"/{user}""#)) && line.contains("inbound|8080"))
    };
    let log = eventually("the lines are written", || {
        let log = site.namespace.kubectl(["logs", &pod.name, "-c", "istio-proxy"]).run()?;
        let both = inbound(&log, &failed) && inbound(&log, &slow);
        if both { Ok(log) } else { Err(log) }
    });
    assert!(!inbound(&log, &well), "{log}");
}

/// Metrics of the service, the host and Envoy at the port in the injector's annotations, without mutual TLS.
fn all_metrics_at_one_port(site: &Site, pod: &Pod) {
    let annotation =
        |name: &str| pod.object["metadata"]["annotations"][name].as_str().unwrap_or_default().to_owned();
    assert_eq!(annotation("prometheus.io/scrape"), "true");
    assert_eq!(annotation("prometheus.io/port"), "15020");
    assert_eq!(annotation("prometheus.io/path"), "/stats/prometheus");
    let _ = site.get("/health").is(200);
    let samples = eventually("the counters have arrived", || {
        let samples = stats(pod)?;
        let counted = samples.sum("http_requests_total", &[("endpoint", "/health")]);
        if counted >= 2.0 { Ok(samples) } else { Err(format!("{counted} requests to /health")) }
    });
    let names = || samples.0.iter().map(|sample| sample.name.as_str());
    assert!(names().any(|name| name.starts_with("wasi_http_host_")));
    assert!(names().any(|name| name.starts_with("envoy_cluster_circuit_breakers_")));
    // `proxyStatsMatcher` exports the traffic by cluster, which Envoy does not export by default.
    let inbound = |sample: &&testkit::Sample| {
        sample.name == "envoy_cluster_upstream_rq_total"
            && sample.labels.get("cluster_name").is_some_and(|name| name.starts_with("inbound|8080"))
    };
    assert!(
        samples.0.iter().find(inbound).is_some_and(|sample| sample.value >= 2.0),
        "{:?}",
        samples.values_of("cluster_name")
    );
    // Each series occurs once: the host joins its own metrics and the component's, and the sidecar must not add them again.
    let of = |name: &str| samples.0.iter().filter(|sample| sample.name == name).count();
    assert_eq!((of("http_requests_active"), of("wasi_http_host_build_info")), (1, 1));
}

#[test]
fn a_rolling_update_in_the_mesh_loses_no_request() {
    let _access = Access::exclusive();
    let site = Site::new("mesh-roll", 2, &["istio-mesh-sidecar"], |all| all);
    let api = Deployment::api(&site.namespace);
    let before: Vec<_> = api.ready().into_iter().map(|pod| pod.name).collect();
    let load =
        Load::start(&site.https(), 4, 40.0, &[Request::get("/health"), Request::get("/ready?verbose")]);
    api.restart();
    let after = api.ready();
    let tally = load.stop();
    assert!(after.iter().all(|pod| !before.contains(&pod.name)), "{before:?}");
    assert_eq!(tally.failed(), 0, "{}: {:?}", tally.summary(), tally.reasons);
    figure("mesh", "requests during a rolling update in the mesh, none failed", tally.sent);
}

/// Strict mutual TLS and the policies apply to pods with a sidecar. Pods without one are asked in plain text until they are replaced.
#[test]
fn switching_the_mesh_on_loses_no_request() {
    let _access = Access::exclusive();
    let site = Site::new("mesh-on", 2, &[], |all| all);
    let api = Deployment::api(&site.namespace);
    let before: Vec<_> = api.ready().into_iter().map(|pod| pod.name).collect();
    let load =
        Load::start(&site.https(), 4, 40.0, &[Request::get("/health"), Request::get("/ready?verbose")]);
    site.again(2, &["istio-mesh-sidecar"]);
    let after = eventually("every pod has a sidecar", || {
        let pods = api.ready();
        let meshed = |pod: &Pod| pod.object.to_string().contains("istio-proxy");
        if pods.iter().all(meshed) { Ok(pods) } else { Err("not yet".to_owned()) }
    });
    let tally = load.stop();
    assert!(after.iter().all(|pod| !before.contains(&pod.name)), "{before:?}");
    assert_eq!(tally.failed(), 0, "{}: {:?}", tally.summary(), tally.reasons);
    // Now in mutual TLS, and closed for all others.
    let _ = site.get("/health").is(200);
    let outsider = client(&site.namespace, "outsider", false);
    assert!(ask(&outsider, "http://github-gists-api/health").is_err());
    figure("mesh", "requests while the mesh was switched on, none failed", tally.sent);
}
