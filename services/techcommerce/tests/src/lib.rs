//! What the tests of the shop share: how the shop starts, and the requests that they send.

use serde_json::{Value, json};
use testkit::http::{BoundRequest, Request};
use testkit::{Host, HostOptions, paths};
use tokio::sync::OnceCell;

const ADMIN: &str = "Bearer administrators-token";
const SERVICE: &str = "Bearer services-token";

/// How the host uses instances. The tests run with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// A new instance for each request: nothing can hide in an instance's memory.
    Fresh,
    /// The host's defaults: an instance lives long and serves many requests at once.
    Reused,
}

/// Options of a host that serves the shop. The first call of a process compiles the components into the shared code cache.
pub async fn options(instances: Instances) -> HostOptions {
    static COMPILED: OnceCell<()> = OnceCell::const_new();
    for name in ["shop_frontend", "product_api", "order_api"] {
        let component = paths::target().join(format!("wasm32-wasip2/dist/{name}.wasm"));
        assert!(component.is_file(), "{} does not exist; build it with `make services`", component.display());
    }
    let options = HostOptions::serving(paths::workspace().join("services/techcommerce/spin.toml"))
        .setting("admin_token", "administrators-token")
        .setting("service_token", "services-token");
    let compile = async {
        let output = options.compile();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    COMPILED.get_or_init(|| compile).await;
    match instances {
        Instances::Fresh => options.flag("--instance-max-requests", "1"),
        Instances::Reused => options,
    }
}

/// Sets how many items of a product can be ordered.
pub async fn set_stock(host: &Host, product: &str, stock: u32) {
    let request = host.request("PUT", &format!("/products/{product}/stock"));
    let request = request.header("authorization", ADMIN).header("content-type", "application/json");
    request.body(json!({"stock": stock}).to_string()).send().await.is(200);
}

/// Free and held items of a product.
pub async fn stock(host: &Host, product: &str) -> (u64, u64) {
    let stock = host.get(&format!("/products/{product}/stock")).await.is(200).json();
    let count = |member: &str| stock.get(member).and_then(Value::as_u64).expect("a number of items");
    (count("stock"), count("held"))
}

/// An order of one item.
pub fn order(customer: &str, key: &str, product: &str) -> Request {
    let body = json!({"customer": customer, "lines": [{"product": product, "quantity": 1}]});
    Request::new("POST", "/orders")
        .header("content-type", "application/json")
        .header("idempotency-key", &format!("\"{key}\""))
        .body(body.to_string())
}

/// A form of the shop's pages.
pub fn form(host: &Host, target: &str, cookies: &str, body: &str) -> BoundRequest {
    host.request("POST", target)
        .header("content-type", "application/x-www-form-urlencoded")
        .header("origin", &format!("http://{}", host.address()))
        .header("cookie", cookies)
        .body(body)
}

/// Ends all stale holds. Returns what the order API says.
pub async fn settle(host: &Host) -> Value {
    host.request("POST", "/orders/settlements").header("authorization", SERVICE).send().await.is(200).json()
}
