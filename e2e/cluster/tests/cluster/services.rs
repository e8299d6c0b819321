//! The services of `services/`: settings without a restart, the umbrella chart, identities and tokens in the mesh, and the shop under load.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use cluster_e2e::{
    Access, Deployment, Gateway, LONG, Namespace, Pod, Profile, eventually, eventually_within, figure, image,
    milliseconds, pods,
};
use serde_json::{Value, json};
use testkit::http::Request;
use testkit::http::blocking::Client;
use testkit::paths::workspace;

use crate::backup::an_order_outlives_the_loss_of_the_volume;
use crate::support::{
    Issuer, Release, answered, ask, authorize_gateway, client, client_as, expose, let_gateway_in, local,
};

/// How long the load profile of the shop takes here, as a share of its 16 minutes: half a minute.
const SHARE_OF_TIME: f64 = 1.0 / 32.0;

#[test]
fn the_greeting_takes_up_settings_and_secrets_without_a_restart() {
    let _access = Access::shared();
    let namespace = Namespace::new("greeting");
    local("k8s/services/greeting/overlays/dev", &["greeting", "timezones"])
        .component("k8s/services/greeting/components/mesh")
        .apply(&namespace);
    let [greeting, timezones] = expose(&namespace, [("greeting", 80), ("timezones", 80)]);
    let pod = Deployment::new(&namespace, "greeting").ready().remove(0);
    let _ = Deployment::new(&namespace, "timezones").ready();
    let told = answered(&greeting, &Request::get("/"), 200).json();
    assert_eq!(told["message"], "Hello from dev", "{told}");
    // In the mesh, the greeting asks the time zones, and the gateway does not.
    let _ = answered(&timezones, &Request::get("/timezones/Asia/Kolkata"), 403);
    // Without a key, the secret is closed to everybody.
    let with_key = Request::get("/secret").header("x-api-key", "the test's key");
    assert!(greeting.send(&with_key).unwrap().status >= 400);

    let settings = json!({ "data": { "GREETING": "Namaste", "TIMEZONE_OFFSET": "Asia/Kolkata" } });
    namespace
        .kubectl(["patch", "configmap", "greeting-settings", "--type=merge", "-p", &settings.to_string()])
        .must();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "greeting" },
        "stringData": { "DUMMY_API_KEY": "the test's key", "SECRET_MESSAGE": "the test's secret" },
    });
    namespace.apply(&secret.to_string());
    let mut asked = 0;
    let told = eventually_within(LONG, "the greeting has the new settings", || {
        // A change of the pod's object has the kubelet look at the volumes now, and not within a minute.
        asked += 1;
        namespace
            .kubectl(["annotate", "pod", &pod.name, "--overwrite", &format!("gists.test/asked={asked}")])
            .run()?;
        let response = greeting.send(&Request::get("/")).map_err(|error| error.to_string())?;
        let told = response.try_json()?;
        if told["message"] == "Namaste" { Ok(told) } else { Err(told.to_string()) }
    });
    // The service `timezones` knows the zone's offset.
    assert_eq!(told["timezone_offset"], "+05:30", "{told}");
    assert!(answered(&greeting, &with_key, 200).text().contains("the test's secret"));
    let refused = greeting.send(&Request::get("/secret").header("x-api-key", "another")).unwrap();
    assert_eq!(refused.status, 401, "{}", refused.text());

    let after = Deployment::new(&namespace, "greeting").ready().remove(0);
    assert_eq!((after.uid(), after.restarts()), (pod.uid(), 0));
}

#[test]
fn the_umbrella_chart_installs_services_that_know_each_other_and_nobody_else() {
    let _access = Access::shared();
    let namespace = Namespace::new("my-app");
    let release = Release { helm: "helm", namespace: &namespace, name: "my-app", chart: "my-app" };
    let values = |message: &str| {
        let one = |name: &str, settings: Value, callers: &[String]| {
            let own = image(name);
            let (repository, tag) = own.rsplit_once(':').unwrap();
            let mut values = json!({
                "image": { "repository": repository, "tag": tag },
                "replicas": 1, "podDisruptionBudget": { "minAvailable": 0 },
                "settings": settings, "mesh": { "enabled": true },
            });
            if !callers.is_empty() {
                values["mesh"]["callers"] = json!(callers);
            }
            values
        };
        let friend = format!("cluster.local/ns/{}/sa/friend", namespace.name());
        json!({
            "service-a": one("service-a", json!({ "SERVICE_A_MESSAGE": message }), &[]),
            "service-b": one("service-b", json!({}), &[friend]),
        })
    };
    release.upgrade(&values("first"));
    let (friend, stranger) = (client(&namespace, "friend", true), client(&namespace, "stranger", true));
    ready(&namespace, &["my-app-service-a", "my-app-service-b"]);

    // B asks A, and answers with both messages.
    let ping = "http://my-app-service-b:8012/ping_service_a";
    let says = |message: &str| {
        eventually(&format!("service A says {message}"), || {
            let told = ask(&friend, ping)?;
            let of_a = format!(r#""message":"{message}""#);
            if told.contains(&of_a) && told.contains("service_a") { Ok(()) } else { Err(told) }
        });
    };
    says("first");
    // The mesh knows callers by their accounts: nobody but B asks A, and only its callers ask B.
    for (who, url) in
        [(&stranger, ping), (&stranger, "http://my-app-service-a/"), (&friend, "http://my-app-service-a/")]
    {
        let refused = ask(who, url).unwrap_err();
        assert!(refused.contains("403 Forbidden"), "{} asks {url}: {refused}", who.name);
    }
    let forward = PortForward::start(&namespace, "svc/my-app-service-b", 8012);
    let told = answered(&forward.client, &Request::get("/ping_service_a"), 200);
    assert!(told.text().contains("first"), "{}", told.text());
    drop(forward);

    release.upgrade(&values("second"));
    says("second");
    release.rollback("1");
    says("first");
    release.uninstall();
    let left = [
        "get",
        "deployments,services,poddisruptionbudgets,serviceaccounts,authorizationpolicies",
        "-o",
        "name",
    ];
    let left = namespace.kubectl(left).must();
    assert!(!left.contains("my-app"), "{left}");
}

#[test]
fn the_platform_wants_identities_and_tokens() {
    let _access = Access::shared();
    let namespace = Namespace::new("platform");
    let issuer = Issuer::new();
    // The backend verifies tokens itself, too. Without the issuer's keys, its protected routes are closed.
    let keys = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "platform-backend" },
        "stringData": { "JWT_JWKS": issuer.keys().to_string() },
    });
    namespace.apply(&keys.to_string());
    let host = "platform.gists.test";
    let replace = |path: &str, value: Value| json!([{ "op": "replace", "path": path, "value": value }]);
    let server = json!([{ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": [format!("./{host}")] }]);
    local("k8s/services/platform", &["platform-backend", "platform-frontend", "demo-api"])
        .patch("Gateway", "platform", &replace("/spec/servers", server))
        .patch("VirtualService", "platform", &replace("/spec/hosts", json!([host])))
        .patch(
            "RequestAuthentication",
            "platform-backend",
            &json!([
                { "op": "remove", "path": "/spec/jwtRules/0/jwksUri" },
                { "op": "add", "path": "/spec/jwtRules/0/jwks", "value": issuer.keys().to_string() },
            ]),
        )
        .apply(&namespace);
    ready(
        &namespace,
        &[
            "platform-backend",
            "platform-frontend",
            "demo-api",
            "platform-backend-canary",
            "platform-frontend-canary",
        ],
    );
    let gateway = Gateway::get().http(host);

    // The gateway's routes.
    let page = answered(&gateway, &Request::get("/"), 200);
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")), "{page:?}");
    let data = answered(&gateway, &Request::get("/api/data"), 200).json();
    for field in ["message", "timestamp", "version", "cluster"] {
        assert!(data.get(field).is_some(), "{field}: {data}");
    }
    // The canary by header, and by weight.
    let version = |request: &Request| gateway.send(request).unwrap().is(200).json()["version"].clone();
    for (header, value) in [("x-canary", "true"), ("x-user-group", "beta")] {
        for _ in 0..10 {
            assert_eq!(version(&Request::get("/api/data").header(header, value)), "canary", "{header}");
        }
    }
    let mut seen = BTreeMap::new();
    eventually("both versions answer", || {
        *seen.entry(version(&Request::get("/api/data")).to_string()).or_insert(0) += 1;
        if seen.len() == 2 { Ok(()) } else { Err(format!("{seen:?}")) }
    });

    a_token_opens_the_protected_routes(&gateway, &issuer);

    let frontend = only_the_frontend_asks(
        &namespace,
        "platform-frontend",
        &["http://platform-backend/api/data", "http://demo-api/health"],
    );
    // Also who may ask the backend needs a token there.
    let refused = ask(&frontend, "http://platform-backend/api/protected/data").unwrap_err();
    assert!(refused.contains("403 Forbidden"), "{refused}");
}

/// The clients of [`only_the_frontend_asks`].
const CLIENTS: [&str; 3] = ["stranger", "outsider", "as-frontend"];

/// In the mesh, the frontend's account is let in, and nobody else's. Returns a pod with that account.
fn only_the_frontend_asks(namespace: &Namespace, account: &str, urls: &[&str]) -> Pod {
    let [stranger, outsider, frontend] = CLIENTS;
    let (stranger, outsider) = (client(namespace, stranger, true), client(namespace, outsider, false));
    let frontend = client_as(namespace, frontend, account, true);
    for url in urls {
        let told = eventually("the frontend's account is let in", || ask(&frontend, url));
        assert!(told.contains("200 OK"), "{told}");
        let refused = ask(&stranger, url).unwrap_err();
        assert!(refused.contains("403 Forbidden"), "{url}: {refused}");
        let refused = ask(&outsider, url).unwrap_err();
        assert!(!refused.contains("HTTP/1.1"), "{url}: {refused}");
    }
    frontend
}

/// `/api/protected` with and without a token of this issuer.
fn a_token_opens_the_protected_routes(gateway: &Client, issuer: &Issuer) {
    let claims = json!({ "iss": "https://issuer.example.com", "aud": "platform-backend", "sub": "ann" });
    let with =
        |token: &str| Request::get("/api/protected/data").header("authorization", &format!("Bearer {token}"));
    let _ = answered(gateway, &with(&issuer.token(600, &claims)), 200);
    let _ = gateway.send(&Request::get("/api/protected/data")).unwrap().is(403);
    for path in [
        "/api/protected",
        "/api/protected/",
        "/api/./protected/data",
        "//api/protected/data",
        "/api//protected/data",
    ] {
        let response = gateway.send(&Request::get(path)).unwrap();
        assert!(response.status >= 300, "{path}: {response:?}");
    }
    let mut other = claims.clone();
    other["aud"] = json!("another");
    for (what, token, status) in [
        ("another's key", Issuer::new().token(600, &claims), 401),
        ("expired", issuer.token(-600, &claims), 401),
        ("for another audience", issuer.token(600, &other), 403),
        ("no token", "x".to_owned(), 401),
    ] {
        let response = gateway.send(&with(&token)).unwrap();
        assert_eq!(response.status, status, "{what}: {}", response.text());
    }
    let _ = gateway.send(&Request::get("/api/public/data")).unwrap().is(200);
}

/// The shop of production in a namespace that enforces `restricted`, with sidecars and NetworkPolicies.
#[test]
fn the_shop_in_the_mesh_holds_its_limits_under_load_and_its_autoscaler_adds_pods() {
    let _access = Access::exclusive();
    let namespace = Namespace::new("shop");
    let secrets =
        std::fs::read_to_string(workspace().join("k8s/services/techcommerce/secrets.example.yaml")).unwrap();
    namespace.apply(&secrets.replace("FILL-IN", "the-tests-secret"));
    // The test cluster provides no volumes. A small request for CPU makes a light load a high utilisation. The test crashes Redis.
    let volume = json!([
        { "op": "add", "path": "/spec/template/spec/containers/0/command/-", "value": "--enable-debug-command" },
        { "op": "add", "path": "/spec/template/spec/containers/0/command/-", "value": "local" },
        { "op": "remove", "path": "/spec/volumeClaimTemplates" },
        { "op": "add", "path": "/spec/template/spec/volumes/-", "value": { "name": "data", "emptyDir": {} } },
    ]);
    let sensitive = json!([
        { "op": "replace", "path": "/spec/template/spec/containers/0/resources/requests/cpu", "value": "20m" }
    ]);
    local("k8s/services/techcommerce/overlays/production", &["shop-frontend", "product-api", "order-api"])
        .component("k8s/services/techcommerce/components/mesh")
        .image("redis", &image("redis"))
        .image("busybox", &image("busybox"))
        // The test says when.
        .patch(
            "CronJob",
            "shop-settlements",
            &json!([{ "op": "add", "path": "/spec/suspend", "value": true }]),
        )
        .patch("StatefulSet", "shop-redis", &volume)
        .patch("Deployment", "product-api", &sensitive)
        .apply(&namespace);
    let services = [("shop-frontend", 3000), ("product-api", 5000), ("order-api", 7000)];
    let [shop, products, orders] = expose(&namespace, services);
    let_gateway_in(&namespace);
    ready(&namespace, &["shop-frontend", "product-api", "order-api"]);
    let _ = answered(&shop, &Request::get("/"), 200);

    // The gateway reaches the pages alone, until the test lets it in. The load and the orders go to the APIs directly.
    let listing = Request::get("/products?per_page=1");
    let _ = answered(&products, &listing, 403);
    let _ = answered(&orders, &Request::get("/orders?customer=ann"), 403);
    authorize_gateway(&namespace);
    let _ = answered(&products, &listing, 200);
    hold_an_item(&products);
    let_clients_out(&namespace);
    let apis = ["http://product-api:5000/products", "http://order-api:7000/orders?customer=ann"];
    only_the_frontend_asks(&namespace, "shop-frontend", &apis);
    let order = an_order_outlives_a_crash_of_redis(&namespace, &products, &orders);
    an_order_outlives_the_loss_of_the_volume(&namespace, &orders, &order);

    the_limits_hold_while_pods_are_added(
        &namespace,
        BTreeMap::from([("page", shop), ("api", products.clone())]),
    );
    the_job_ends_the_stale_hold(&namespace, &products);
}

/// Puts the shop under the load of its profile.
fn the_limits_hold_while_pods_are_added(namespace: &Namespace, clients: BTreeMap<&'static str, Client>) {
    let profile =
        Profile::read(&workspace().join("e2e/cluster/load/shop.json")).in_share_of_time(SHARE_OF_TIME);
    let load = std::thread::spawn(move || {
        let results = profile.run(&clients);
        (profile.exceeded(&results), results)
    });
    let pods = eventually_within(LONG, "the autoscaler adds pods of the product API", || {
        let found = namespace.kubectl(["get", "hpa", "product-api"]).json()?;
        let desired = found.pointer("/status/desiredReplicas").and_then(Value::as_i64).unwrap_or_default();
        if desired > 2 { Ok(desired) } else { Err(found["status"].to_string()) }
    });
    let (exceeded, results) = load.join().unwrap();
    for (kind, tally) in &results {
        println!("{kind}: {}; {:?}", tally.summary(), tally.reasons);
        figure("services", &format!("shop_{kind}_p95_ms"), milliseconds(tally.latency(0.95)));
        figure("services", &format!("shop_{kind}_requests"), tally.sent);
    }
    figure("services", "product_api_pods_under_load", pods);
    assert_eq!(exceeded, Vec::<String>::new());
}

/// Opens the NetworkPolicies of the shop for [`CLIENTS`], so that the mesh alone refuses them.
fn let_clients_out(namespace: &Namespace) {
    let clients = json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": CLIENTS }] });
    let apis = json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["product-api", "order-api"] }] });
    let service = json!([{ "protocol": "TCP", "port": 8080 }]);
    let istiod =
        json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "istio-system" } } });
    let policy = |name: &str, spec: Value| {
        json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": { "name": name }, "spec": spec,
        })
    };
    let out = json!({ "podSelector": clients, "policyTypes": ["Egress"], "egress": [
        { "to": [{ "podSelector": apis }], "ports": service },
        { "to": [istiod], "ports": [{ "protocol": "TCP", "port": 15012 }] },
    ] });
    let to_apis = json!({ "podSelector": apis, "policyTypes": ["Ingress"], "ingress": [
        { "from": [{ "podSelector": clients }], "ports": service },
    ] });
    let policies = [policy("test-clients", out), policy("test-apis", to_apis)];
    namespace.apply(&json!({ "apiVersion": "v1", "kind": "List", "items": policies }).to_string());
}

/// The product and its stock, of which [`hold_an_item`] holds one.
const HELD: &str = "/products/vault-nas/stock";

/// Reserves an item for an order that nobody continues, as an order API does that is killed meanwhile.
fn hold_an_item(products: &Client) {
    let hold = json!({
        "order": "f".repeat(32), "attempt": 1, "lines": [{ "product": "vault-nas", "quantity": 1 }], "stale_after": 1,
    });
    let hold = with_the_service_token(Request::new("POST", "/reservations"))
        .header("content-type", "application/json")
        .body(hold.to_string());
    assert_eq!(answered(products, &hold, 200).json()["outcome"], "reserved");
    assert_eq!(answered(products, &Request::get(HELD), 200).json()["held"], 1);
}

fn with_the_service_token(request: Request) -> Request {
    request.header("authorization", "Bearer the-tests-secret")
}

/// The job `shop-settlements` ends the hold of [`hold_an_item`], and its sidecar does not keep it from ending.
fn the_job_ends_the_stale_hold(namespace: &Namespace, products: &Client) {
    // The hold is stale when it is older than the order's lease.
    let stale = with_the_service_token(Request::get("/reservations?stale_after=30000"));
    eventually_within(LONG, "the hold is stale", || {
        let page = products.send(&stale).map_err(|error| error.to_string())?.try_json()?;
        if page.to_string().contains("vault-nas") { Ok(()) } else { Err(page.to_string()) }
    });
    namespace.kubectl(["create", "job", "settle", "--from=cronjob/shop-settlements"]).must();
    namespace.kubectl(["wait", "--for=condition=complete", "job/settle", "--timeout=90s"]).must();
    let attempts = pods(namespace.name(), "job-name=settle").unwrap();
    let pod = attempts.iter().find(|pod| pod.text("/status/phase") == "Succeeded").unwrap();
    assert!(pod.object.to_string().contains("istio-proxy"), "{}", pod.object);
    let said = namespace.kubectl(["logs", &pod.name, "-c", "settlements"]).must();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["more"], false, "{said}");
    assert!(said["settled"].as_u64() >= Some(1), "{said}");
    assert_eq!(answered(products, &Request::get(HELD), 200).json()["held"], 0);
}

/// An order that was answered with 201 is there after Redis crashed. Returns the order's id.
fn an_order_outlives_a_crash_of_redis(namespace: &Namespace, products: &Client, orders: &Client) -> String {
    let listed = answered(products, &Request::get("/products"), 200).json();
    let product = listed.pointer("/data/0/id").cloned().unwrap_or_default();
    let order = json!({ "customer": "ann", "lines": [{ "product": product, "quantity": 1 }] });
    let order = Request::new("POST", "/orders")
        .header("content-type", "application/json")
        .header("idempotency-key", "\"the-tests-order\"")
        .body(order.to_string());
    let placed = answered(orders, &order, 201).json();
    let id = placed["id"].as_str().unwrap_or_default().to_owned();
    let restarts = || redis(namespace).map(|pod| pod.restarts());
    let before = restarts().unwrap();
    // Redis is process 1 of its container, which ignores signals from within.
    let crash = ["redis-cli", "-a", "the-tests-secret", "debug", "segfault"];
    let told = namespace.kubectl(["exec", "shop-redis-0", "--"].into_iter().chain(crash)).run();
    eventually_within(LONG, "Redis was restarted", || {
        let (count, pod) = (restarts()?, redis(namespace)?);
        if count > before && pod.ready() { Ok(()) } else { Err(format!("{count} restarts; {told:?}")) }
    });
    let kept = answered(orders, &Request::get(&format!("/orders/{id}")), 200).json();
    assert_eq!(kept["id"], placed["id"], "{kept}");
    // The same order again is the same order.
    let again = eventually("the retried order is answered", || {
        let response = orders.send(&order).map_err(|error| error.to_string())?;
        if response.status < 300 {
            response.try_json()
        } else {
            Err(format!("{}: {}", response.status, response.text()))
        }
    });
    assert_eq!(again["id"], placed["id"], "{again}");
    id
}

fn redis(namespace: &Namespace) -> Result<Pod, String> {
    namespace.kubectl(["get", "pod", "shop-redis-0"]).json().map(Pod::from)
}

/// Waits for these Deployments.
#[track_caller]
fn ready(namespace: &Namespace, names: &[&str]) {
    for name in names {
        let _ = Deployment::new(namespace, name).ready();
    }
}

/// `kubectl port-forward`, which ends with this value.
struct PortForward {
    kubectl: Child,
    /// Open as long as kubectl runs: kubectl writes a line for each connection, and ends if it cannot.
    _output: BufReader<ChildStdout>,
    client: Client,
}

impl PortForward {
    fn start(namespace: &Namespace, target: &str, port: u16) -> Self {
        let mut kubectl = Command::new("kubectl")
            // Any free port here.
            .args(["--namespace", namespace.name(), "port-forward", target, &format!(":{port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(kubectl.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        // "Forwarding from 127.0.0.1:40123 -> 8080"
        let address = line.split_whitespace().nth(2).and_then(|address| address.parse().ok());
        let address =
            address.unwrap_or_else(|| cluster_e2e::fail(format!("kubectl port-forward {target}: {line}")));
        Self { kubectl, _output: output, client: Client::http(address, "localhost") }
    }
}

impl Drop for PortForward {
    fn drop(&mut self) {
        let _ = self.kubectl.kill();
        let _ = self.kubectl.wait();
    }
}
