//! Requests to GitHub if many requests miss at once: one for each pod, or with the shared store one for all pods.

use std::time::Duration;

use cluster_e2e::{
    Access, Cluster, Deployment, Fake, Gateway, Kustomization, Namespace, ScriptedResponse, await_route,
    burst, eventually, figure, scrape,
};
use serde_json::json;
use testkit::http::Request;

const CROWD: usize = 300;

/// Three pods, and a gateway without its limit of a hundred connections, which is not tested here.
fn three(host: &str, fake: &Fake) -> Kustomization {
    let pool = json!([{
        "op": "add", "path": "/spec/trafficPolicy/connectionPool",
        "value": { "tcp": { "maxConnections": 1000 }, "http": { "http1MaxPendingRequests": 1000 } }
    }]);
    let dev = Cluster::get().dev().at_host(host).upstream(&fake.url()).replicas(3).eager();
    dev.patch("DestinationRule", "github-gists-api", &pool)
}

/// A crowd misses at once. Returns the number of requests to GitHub.
fn asked(namespace: &Namespace, host: &str, fake: &Fake) -> usize {
    let api = Deployment::api(namespace);
    let pods = api.ready();
    assert_eq!(pods.len(), 3);
    let client = Gateway::get().http(host);
    await_route(&client, &Request::get("/health"));
    let served = |pod| scrape(pod, 8080).map(|samples| samples.sum("http_requests_total", &[]));
    let login = fake.user(5);
    // The delay is long enough for all requests to arrive before the first response.
    fake.always(&login, &ScriptedResponse::genuine().after(Duration::from_secs(5)));
    let before: Vec<f64> = pods.iter().map(|pod| served(pod).unwrap()).collect();
    let answers = burst(&client, CROWD, &Request::get(&format!("/{login}")));
    for answer in &answers {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    for (pod, before) in pods.iter().zip(before) {
        // A component publishes its counts within half a second.
        eventually("every pod had its share of the crowd", || {
            let after = served(pod)?;
            if after - before >= 10.0 {
                Ok(())
            } else {
                Err(format!("pod {}: {before} → {after}", pod.name))
            }
        });
    }
    fake.calls(&login).len()
}

#[test]
fn without_a_shared_cache_each_pod_asks_once() {
    let _access = Access::exclusive();
    let fake = Fake::get();
    let namespace = Namespace::new("alone");
    let host = "alone.gists.test";
    three(host, fake).apply(&namespace);
    let calls = asked(&namespace, host, fake);
    figure("redis", "calls_of_300_misses_without", calls);
    assert_eq!(calls, 3);
}

#[test]
fn with_redis_all_pods_ask_once() {
    let _access = Access::exclusive();
    let fake = Fake::get();
    let namespace = Namespace::new("redis");
    let host = "redis.gists.test";
    // On a busy machine, a response of the store may be late, and the host gives it up. That is not tested here.
    let patient = [("WASI_HTTP_HOST_REDIS_TIMEOUT", "30s")];
    let redis = three(host, fake).component("k8s/components/redis");
    redis.env("github-gists-api", "github-gists-api", &patient).apply(&namespace);
    let _ = Deployment::new(&namespace, "github-gists-redis").ready();
    for pod in &Deployment::api(&namespace).ready() {
        // Readiness does not depend on Redis: an outage must not make all pods unready.
        eventually("the pod is connected to Redis", || {
            let name = "wasi_http_host_keyvalue_remote_connections";
            let connections = scrape(pod, 9090)?.sum(name, &[("store", "shared")]);
            if connections >= 1.0 {
                Ok(())
            } else {
                Err(format!("pod {}: {connections} connections", pod.name))
            }
        });
    }
    let calls = asked(&namespace, host, fake);
    figure("redis", "calls_of_300_misses_with", calls);
    assert_eq!(calls, 1);
}
