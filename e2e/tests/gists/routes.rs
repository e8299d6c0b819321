//! Routes: which path and method leads to which handler.

use e2e::{Instances, Service};

use super::expect::Expect as _;

suite!(
    health_is_fixed_and_asks_nobody,
    ready_says_so,
    head_is_get_without_the_body,
    other_methods_are_named_in_allow,
    unrouted_paths_are_not_found,
    one_trailing_slash_redirects_within_the_service,
    names_of_routes_are_reached_through_users,
    every_answer_forbids_sniffing,
);

async fn health_is_fixed_and_asks_nobody(instances: Instances) {
    let service = Service::start(instances).await;
    for path in ["/", "/health", "/health?page=0", "/?x"] {
        let reply = service.host.get(path).await.is(200);
        assert_eq!(reply.text(), r#"{"status":"healthy","service":"github-gists-api"}"#);
        assert_eq!(reply.header("content-type"), Some("application/json"));
        assert_eq!(reply.header("content-length"), Some("49"));
    }
    assert_eq!(service.github.journal().total(), 0);
}

async fn ready_says_so(instances: Instances) {
    let service = Service::start(instances).await;
    let reply = service.host.get("/ready").await.is(200);
    assert_eq!(reply.text(), r#"{"status":"ready"}"#);
    assert_eq!(service.github.journal().total(), 0);
}

async fn head_is_get_without_the_body(instances: Instances) {
    let service = Service::start(instances).await;
    service.host.get("/octocat").await.is(200);
    for path in [
        "/",
        "/health",
        "/ready",
        "/octocat",
        "/users/octocat/gists",
        "/cache/stats",
        "/openapi.json",
        "/docs",
        "/metrics",
    ] {
        let get = service.host.get(path).await.is(200);
        let head = service.host.request("HEAD", path).send().await.is(200);
        assert!(head.body.is_empty());
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        if path != "/metrics" && path != "/cache/stats" {
            assert_eq!(head.header("content-length"), get.header("content-length"), "{path}");
            assert_eq!(head.header("etag"), get.header("etag"), "{path}");
        }
    }
    service.host.request("HEAD", "/no/such/route").send().await.is(404);
    service.host.request("HEAD", "/octocat?page=0").send().await.is(422);
}

async fn other_methods_are_named_in_allow(instances: Instances) {
    let service = Service::start(instances).await;
    let paths = [
        "/",
        "/health",
        "/ready",
        "/octocat",
        "/users/octocat/gists",
        "/cache/stats",
        "/metrics",
        "/openapi.json",
        "/docs",
    ];
    for method in ["POST", "PUT", "PATCH", "DELETE", "BREW"] {
        for path in paths {
            let reply = service.host.request(method, path).send().await;
            reply.is_error(405, "Method Not Allowed");
            assert_eq!(reply.header("allow"), Some("GET, HEAD"), "{method} {path}");
        }
    }
    // `GET /cache` is the list of the user `cache`, so the path allows three methods.
    let reply = service.host.request("POST", "/cache").send().await;
    reply.is_error(405, "Method Not Allowed");
    let mut allowed: Vec<_> = reply.header("allow").unwrap().split(", ").collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD"]);
    assert_eq!(service.github.journal().total(), 0);
}

async fn unrouted_paths_are_not_found(instances: Instances) {
    let service = Service::start(instances).await;
    let paths = [
        "/a/b",
        "/a/b/",
        "/users",
        "/users/octocat",
        "/users/octocat/",
        "/users/octocat/gists/1",
        "/users//gists",
        "/cache/stats/x",
        "/oct%2Focat",
        "/octocat%2F",
        "/%2F",
        "/users/octo%2Fcat/gists",
        "//octocat",
        "/health/x",
        "/octocat//",
        "/metrics/x",
        "/.well-known/security.txt",
    ];
    for path in paths {
        // The contract fixes the status 404 and that GitHub is not asked.
        let status = service.host.get(path).await.status;
        if path == "/users" {
            assert_eq!(status, 404, "the user `users` does not exist");
        } else if path == "/users/octocat/" || path == "/users//gists" {
            assert_eq!(status, 404, "{path}");
        } else {
            service.host.get(path).await.is_error(404, "Not Found");
        }
    }
    assert!(service.github.journal().calls().iter().all(|call| call.login == "users"));
    for method in ["POST", "DELETE"] {
        service.host.request(method, "/a/b").send().await.is_error(404, "Not Found");
    }
}

async fn one_trailing_slash_redirects_within_the_service(instances: Instances) {
    let service = Service::start(instances).await;
    for (path, to) in [
        ("/octocat/", "/octocat"),
        ("/OctoCat/?page=2&x=%20", "/OctoCat?page=2&x=%20"),
        ("/users/octocat/gists/", "/users/octocat/gists"),
        ("/health/", "/health"),
        ("/cache/stats/", "/cache/stats"),
        ("/metrics/", "/metrics"),
    ] {
        let reply = service.host.get(path).await.is(307);
        let location = reply.header("location").unwrap();
        assert_eq!(resolve(path, location), to, "{path} → {location}");
        assert!(!location.contains("://") && !location.starts_with("//"), "{location}");
    }
    for path in [
        "//evil.example/",
        "///evil.example/",
        "/%2Fevil.example/",
        "//evil.example/%2e%2e/",
        "/\\evil.example/",
        "//evil.example/?a",
    ] {
        let reply = service.host.get(path).await;
        let location = reply.header("location").unwrap_or_default();
        assert!(
            !location.starts_with("//") && !location.starts_with("/\\") && !location.contains("://"),
            "{path} → {location}"
        );
    }
    assert_eq!(service.github.journal().total(), 0);
}

/// Resolves a relative reference against a path, for the forms that a slash redirect can have.
fn resolve(path: &str, location: &str) -> String {
    if location.starts_with('/') {
        return location.to_owned();
    }
    let mut base: Vec<_> = path.split('?').next().unwrap().split('/').collect();
    base.pop();
    let mut rest = location;
    while let Some(after) = rest.strip_prefix("../") {
        base.pop();
        rest = after;
    }
    base.push(rest.strip_prefix("./").unwrap_or(rest));
    base.join("/")
}

async fn names_of_routes_are_reached_through_users(instances: Instances) {
    let service = Service::start(instances).await;
    for name in ["health", "cache", "docs", "metrics", "ready", "users", "openapi.json"] {
        service.github.add_user(name, 2, 0);
        let reply = service.host.get(&format!("/users/{name}/gists")).await;
        if name == "openapi.json" {
            reply.is_error(404, "User 'openapi.json' not found");
            continue;
        }
        let reply = reply.is(200);
        assert_eq!(reply.ids().len(), 2);
        assert_eq!(service.github.journal().calls_for(name).len(), 1);
    }
    assert_eq!(service.host.get("/cache").await.is(200).ids().len(), 2, "GET /cache is a user");
    assert_eq!(service.host.get("/users").await.is(200).ids().len(), 2, "so is GET /users");
}

async fn every_answer_forbids_sniffing(instances: Instances) {
    let service = Service::start(instances).await;
    for path in [
        "/health",
        "/ready",
        "/octocat",
        "/nobody",
        "/octocat?page=0",
        "/a/b",
        "/cache/stats",
        "/metrics",
        "/docs",
        "/openapi.json",
        "/octocat/",
    ] {
        let reply = service.host.get(path).await;
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "{path}");
        let policy =
            reply.header("content-security-policy").unwrap_or_else(|| panic!("{path}: {:?}", reply.headers));
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        if path != "/docs" {
            assert_eq!(policy, "default-src 'none'", "{path}");
        }
        assert_eq!(reply.header("access-control-allow-origin"), Some("*"), "{path}");
    }
}
