//! Access control and rate limits at the gateway: the two routes for operators, and the limit of requests.

use std::time::Instant;

use cluster_e2e::{Access, Fake, Load, burst, eventually, figure, kubectl, pods};
use serde_json::{Value, json};
use testkit::http::{Request, Response};

use crate::support::{Issuer, Site};

/// As the manifests name it.
const ISSUER: &str = "https://issuer.example.com";

/// Spellings of `/metrics` that may pass a careless rule.
const METRICS: [&str; 14] = [
    "/metrics",
    "/metrics?x=1",
    "/metrics/",
    "//metrics",
    "/./metrics",
    "/x/../metrics",
    "/%6Detrics",
    "/%6d%65%74%72%69%63%73",
    "/metrics/.",
    "/metrics/x/..",
    "/%2e/metrics",
    "/metrics;x",
    "/metrics%2F",
    "/\\metrics",
];

/// Whether the body contains the metrics, with any status.
fn leaks(answer: &Response) -> bool {
    answer.text().contains("http_requests_total")
}

#[test]
fn metrics_and_clearing_are_closed_unless_opened() {
    let _access = Access::shared();
    let site = Site::new("closed", 1, &[], |all| all);
    let user = Fake::get().user(1);
    let stats = || site.get("/cache/stats").is(200).json()["size"].as_u64().unwrap();
    let _ = site.get(&format!("/{user}")).is(200);
    let before = stats();
    assert!(before > 0);
    for method in ["GET", "HEAD", "POST"] {
        let refused = site.send(&Request::new(method, "/metrics")).is(403);
        assert_eq!(refused.header("content-type"), Some("application/json"));
    }
    for target in METRICS {
        // Gateway or service may take a spelling for another path. No response may contain the metrics.
        let answer = site.get(target);
        assert!(answer.status != 200 && !leaks(&answer), "{target}: {answer:?}");
    }
    for target in
        ["/cache", "/cache?x", "/cache/", "//cache", "/./cache", "/%63ache", "/x/../cache", "/cache;x"]
    {
        let answer = site.send(&Request::new("DELETE", target));
        assert_ne!(answer.status, 200, "{target}: {answer:?}");
    }
    assert_eq!(stats(), before);
    // An unverified claim does not count.
    let forged = Issuer::new().token(600, &json!({ "iss": ISSUER, "groups": ["gists-admin"] }));
    let forged = Request::get("/metrics").header("authorization", &format!("Bearer {forged}"));
    assert_eq!(site.send(&forged).status, 403);
    // `GET /cache` is the list of the user `cache`, and public.
    assert_eq!(site.get("/cache").is(404).json()["detail"], "User 'cache' not found");
}

/// The overlay `staging` with the test's own issuer.
fn staging(name: &str, issuer: &Issuer) -> Site {
    Site::overlay(name, "staging", 1, |all, host| {
        let vhost = |place: usize, host: &str| {
            let path = format!("/spec/configPatches/{place}/match/routeConfiguration/vhost/name");
            json!({ "op": "replace", "path": path, "value": format!("{host}:443") })
        };
        all.patch(
            "EnvoyFilter",
            "github-gists-api-rate-limit",
            &json!([vhost(1, host), vhost(2, &format!("www.{host}"))]),
        )
        .patch(
            "RequestAuthentication",
            "github-gists-api-admin",
            &json!([
                { "op": "remove", "path": "/spec/jwtRules/0/jwksUri" },
                { "op": "add", "path": "/spec/jwtRules/0/jwks", "value": issuer.keys().to_string() },
            ]),
        )
    })
}

#[test]
fn staging_wants_a_token_of_the_right_group() {
    // The gateway's check of tokens applies to each host name.
    let _access = Access::exclusive();
    let issuer = Issuer::new();
    let site = staging("token", &issuer);
    let claims =
        |groups: &Value| json!({ "iss": ISSUER, "aud": "github-gists-api", "sub": "ann", "groups": groups });
    let admin = claims(&json!(["everybody", "gists-admin"]));
    let ask = |method: &str, target: &str, token: &str| {
        site.send(&Request::new(method, target).header("authorization", &format!("Bearer {token}")))
    };
    let token = issuer.token(600, &admin);
    site.answers(&Request::get("/metrics").header("authorization", &format!("Bearer {token}")));
    assert!(leaks(&ask("GET", "/metrics", &issuer.token(600, &admin))));
    let _ = ask("GET", "/metrics", &issuer.token(600, &claims(&json!("gists-admin")))).is(200);
    // No token, or a valid token of another subject: the caller is authenticated and not authorised.
    let _ = site.get("/metrics").is(403);
    let _ = site.send(&Request::new("DELETE", "/cache")).is(403);
    for groups in [json!([]), json!(["everybody"]), json!("gists-admins"), json!(null)] {
        let _ = ask("GET", "/metrics", &issuer.token(600, &claims(&groups))).is(403);
    }
    // Invalid tokens: expired, of another issuer, for another audience, with another key, altered, or unsigned.
    let other = |name: &str, value: &str| {
        let mut claims = admin.clone();
        claims[name] = json!(value);
        claims
    };
    let good = issuer.token(600, &admin);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = head.split_once('.').unwrap();
    let unsigned = "eyJhbGciOiJub25lIn0"; // {"alg":"none"}
    let payload = head.rsplit_once('.').unwrap().1;
    let bad = [
        ("late", issuer.token(-600, &admin)),
        ("another issuer", issuer.token(600, &other("iss", "https://elsewhere.example.com"))),
        ("another audience", issuer.token(600, &other("aud", "another-api"))),
        ("another key", Issuer::new().token(600, &admin)),
        ("another payload", format!("{header}.{}.{signature}", payload.chars().rev().collect::<String>())),
        ("no signature", format!("{unsigned}.{payload}.")),
        ("garbage", "garbage".to_owned()),
    ];
    for (what, token) in &bad {
        for (method, target) in [("GET", "/metrics"), ("DELETE", "/cache")] {
            let answer = ask(method, target, token);
            assert!(matches!(answer.status, 401 | 403) && !leaks(&answer), "{what}: {answer:?}");
        }
    }
    // The authorised caller can clear the cache.
    let _ = site.get(&format!("/{}", Fake::get().user(1))).is(200);
    assert_ne!(site.get("/cache/stats").is(200).json()["size"], 0);
    let _ = ask("DELETE", "/cache", &good).is(200);
    assert_eq!(site.get("/cache/stats").is(200).json()["size"], 0);
}

#[test]
fn more_than_the_limit_is_refused_at_the_gateway() {
    const BURST: u64 = 200;
    const PER_SECOND: u64 = 100;
    const AT_ONCE: usize = 50;
    let _access = Access::exclusive();
    let site = staging("limit", &Issuer::new());
    // A second host name of the same gateway, without a limit.
    let free = format!("free.{}", site.host);
    let route = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": { "name": "free" },
          "spec": { "selector": { "istio": "ingressgateway" }, "servers": [
            { "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": [format!("./{free}")] }] } },
        { "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": { "name": "free" },
          "spec": { "hosts": [free], "gateways": ["free"], "http": [
            { "route": [{ "destination": { "host": "github-gists-api", "port": { "number": 80 } } }] }] } },
    ] });
    site.namespace.apply(&route.to_string());
    let unlimited = cluster_e2e::Gateway::get().http(&free);
    eventually("the second name is served", || {
        let answer = unlimited.send(&Request::get("/health")).map_err(|error| error.to_string())?;
        if answer.status == 200 { Ok(()) } else { Err(answer.status.to_string()) }
    });
    let limited = eventually("the limit is in force", || {
        site.get("/health").header("x-ratelimit-limit").map(str::to_owned).ok_or_else(|| "not yet".to_owned())
    });
    assert_eq!(limited, BURST.to_string());
    // Bursts until a request is refused: a bucket that refills with 100 tokens a second gets empty.
    let started = Instant::now();
    let (mut passed, mut refused) = (0_u64, Vec::new());
    while refused.len() < 100 && started.elapsed().as_secs() < 60 {
        for answer in burst(&site.https(), AT_ONCE, &Request::get("/health")) {
            match answer.status {
                200 => passed += 1,
                429 => refused.push(answer),
                other => panic!("{other}: {}", answer.text()),
            }
        }
    }
    let took = started.elapsed();
    let gateways =
        pods("istio-system", "istio=ingressgateway").unwrap().iter().filter(|pod| pod.ready()).count() as u64;
    assert!(!refused.is_empty(), "{passed} passed within {took:?}");
    assert!(refused.iter().all(|answer| answer.header("retry-after") == Some("1")), "{:?}", refused[0]);
    // One refill more than the seconds, because the first is due at once.
    let most = gateways * (BURST + PER_SECOND * (took.as_secs() + 2));
    assert!(passed <= most, "{passed} passed, {most} at most, within {took:?}");
    figure("policy", "requests let through before and while the limit held", passed);
    // Requests to the other host name succeed.
    for answer in burst(&unlimited, AT_ONCE, &Request::get("/health")) {
        let _ = answer.is(200);
    }
    // After a second, requests to the limited host name succeed again.
    eventually("the bucket fills up", || {
        let status = site.get("/health").status;
        if status == 200 { Ok(()) } else { Err(status.to_string()) }
    });
    let _ = kubectl(["-n", site.namespace.name(), "delete", "gateway.networking.istio.io/free"]).run();
}

/// A client that floods the gateway uses up its own tokens, and nobody else's. A client is the address that the gateway trusts.
#[test]
fn a_flooding_client_is_refused_and_another_is_not() {
    const AT_ONCE: usize = 8;
    const PER_SECOND: f64 = 400.0;
    let _access = Access::exclusive();
    let site = staging("clients", &Issuer::new());
    let from = |address: &str| Request::get("/health").header("x-forwarded-for", address);
    let remaining = |address: &str| {
        let answer = site.send(&from(address));
        answer.header("x-ratelimit-remaining").and_then(|left| left.parse::<u64>().ok())
    };
    eventually("the limit is in force", || remaining("203.0.113.1").ok_or_else(|| "not yet".to_owned()));
    // Without a trusted proxy, a client cannot invent addresses.
    let invented: Vec<_> = (1..=250).map(|last| from(&format!("203.0.113.{last}"))).collect();
    let flood = Load::start(&site.https(), AT_ONCE, PER_SECOND, &invented);
    eventually("invented addresses share a bucket", || match site.send(&from("198.51.100.1")).status {
        429 => Ok(()),
        status => Err(status.to_string()),
    });
    let _ = flood.stop();
    // One trusted proxy, at this host name only.
    let name = format!("{}-{}", Site::TRUSTED_PROXY, site.namespace.name());
    let proxy = json!({
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "metadata": { "name": name, "namespace": "istio-system" },
        "spec": {
            "workloadSelector": { "labels": { "istio": "ingressgateway" } },
            "configPatches": [{
                "applyTo": "NETWORK_FILTER",
                "match": { "context": "GATEWAY", "listener": { "filterChain": {
                    "sni": site.host, "filter": { "name": "envoy.filters.network.http_connection_manager" } } } },
                "patch": { "operation": "MERGE", "value": {
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "xff_num_trusted_hops": 1 } } },
            }],
        },
    });
    kubectl(["apply", "-f", "-"]).input(proxy.to_string()).must();
    let flood = Load::start(&site.https(), AT_ONCE, PER_SECOND, &[from("203.0.113.7")]);
    let mut fresh = 0_u8;
    eventually("the gateway tells forwarded addresses apart", || {
        fresh = fresh.wrapping_add(1);
        match remaining(&format!("198.51.100.{fresh}")) {
            Some(199) => Ok(()),
            left => Err(format!("{left:?} requests left of a new client's 200")),
        }
    });
    eventually("the flooding client is refused", || match site.send(&from("203.0.113.7")).status {
        429 => Ok(()),
        status => Err(status.to_string()),
    });
    // Sixty requests of another client during the flood.
    for _ in 0..60 {
        let _ = site.send(&from("192.0.2.9")).is(200);
    }
    let tally = flood.stop();
    assert!(tally.status(429) > 0, "{}: {:?}", tally.summary(), tally.reasons);
    figure("policy", "requests of a flooding client that were refused, none of another's", tally.status(429));
}

/// The gateway logs what no pod has seen: the responses that the gateway itself gives.
#[test]
fn what_the_gateway_itself_answers_is_in_its_log() {
    let _access = Access::exclusive();
    let site = staging("log", &Issuer::new());
    let mark = site.namespace.name().to_owned();
    let _ = site.get(&format!("/metrics?{mark}")).is(403);
    eventually("the limit refuses a request", || {
        let target = format!("/health?{mark}");
        let refused =
            burst(&site.https(), 50, &Request::get(&target)).iter().any(|answer| answer.status == 429);
        if refused { Ok(()) } else { Err("none".to_owned()) }
    });
    // Without pods, the gateway answers 503.
    site.namespace.kubectl(["scale", "deployment/github-gists-api", "--replicas=0"]).must();
    eventually("no pod is left", || match site.get(&format!("/ready?{mark}")).status {
        503 => Ok(()),
        status => Err(status.to_string()),
    });
    let line = |log: &str, target: &str, status: u16| {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| line["path"] == format!("{target}?{mark}"))
            .find(|line| line["response_code"] == status)
            .ok_or_else(|| format!("no line of {target} with {status}"))
    };
    let all = eventually("the lines are written", || {
        let mut all = String::new();
        for gateway in pods("istio-system", "istio=ingressgateway")? {
            all += &kubectl(["-n", "istio-system", "logs", &gateway.name, "--since=5m"]).run()?;
        }
        for (target, status) in [("/metrics", 403), ("/health", 429), ("/ready", 503)] {
            let line = line(&all, target, status)?;
            let id = line["request_id"].as_str().unwrap_or_default();
            assert!(!id.is_empty() && line["response_flags"].is_string(), "{line}");
        }
        Ok(all)
    });
    // The pods' own responses are in the pods' log only.
    assert_eq!(line(&all, "/health", 200).ok(), None);
}
