//! What is the same in all services, each alone in a host, as in a pod.

use e2e::Instances;
use testkit::Samples;

use super::manifests::components;

/// Services that answer an unknown address with a page, because people read it.
const PAGES: [&str; 1] = ["shop-frontend"];

suite!(every_service_has_the_same_routes, every_error_is_a_problem);

async fn every_service_has_the_same_routes(instances: Instances) {
    for (package, component) in components() {
        let host = e2e::serving(component, instances).await.start().await;
        let health = host.get("/health").await.is(200).json();
        assert_eq!(health["status"], "ok", "{package}");
        let name = health["service"].as_str().unwrap().to_owned();
        assert_eq!(host.get("/ready").await.is(200).json()["status"], "ready", "{package}");
        let document = host.get("/openapi.json").await.is(200).json();
        assert_eq!(document["openapi"], "3.1.0", "{package}");
        assert_eq!(document["info"]["version"], health["version"], "{package}");
        host.get("/openapi.json").await.is(200);
        // A request is counted when its response is on its way.
        let selector =
            format!("http_requests_total{{service=\"{name}\",route=\"/openapi.json\",status=\"200\"}}");
        testkit::until(&selector, async || {
            let metrics = host.get("/metrics").await.is(200);
            (Samples::parse(metrics.text()).select(&selector) == Some(2.0)).then_some(())
        })
        .await;
    }
}

async fn every_error_is_a_problem(instances: Instances) {
    for (package, component) in components() {
        let host = e2e::serving(component, instances).await.start().await;
        for (method, target, status) in
            [("GET", "/nothing/at/all", 404), ("DELETE", "/health", 405), ("BREW", "/ready", 405)]
        {
            let reply = host.request(method, target).send().await.is(status);
            let expected = if status == 404 && PAGES.contains(&package.as_str()) {
                ("text/html; charset=utf-8", "private, no-cache")
            } else {
                assert_eq!(reply.json()["status"], status, "{package} {target}");
                ("application/problem+json", "no-store")
            };
            let of = |name| reply.header(name).unwrap_or_default();
            assert_eq!((of("content-type"), of("cache-control")), expected, "{package} {target}");
            assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{package} {target}");
        }
    }
}
