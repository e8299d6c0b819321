//! Both APIs on one fake system.
#![expect(dead_code, reason = "each test file uses a part")]

use std::time::Duration;

use axum::Router;
use serde_json::{Value, json};
use web::Platform;
use web::fake::{Answer, Fake, get, send};

/// The lease of an attempt when the setting is not set.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
const PRODUCTS: &str = "product-api.spin.internal";
const JSON: (&str, &str) = ("content-type", "application/json");

pub(crate) struct Shop {
    pub(crate) fake: Fake,
    pub(crate) orders: Router,
    pub(crate) products: Router,
}

/// An order's lines: so many items of one product.
pub(crate) fn line(product: &str, quantity: u32) -> Value {
    json!([{"product": product, "quantity": quantity}])
}

/// The answer to an order.
pub(crate) fn order(orders: &Router, customer: &str, key: &str, lines: &Value) -> Answer {
    let body = json!({"customer": customer, "lines": lines}).to_string();
    send(orders, "POST", "/orders", &[JSON, ("idempotency-key", key)], &body)
}

impl Shop {
    pub(crate) fn new() -> Self {
        let fake = Fake::new();
        fake.set_time(Duration::from_secs(1_800_000_000));
        fake.setting("admin_token", "admin");
        fake.setting("service_token", "service");
        Self::on(&fake, &fake.platform())
    }

    /// Services on `platform`, which is a view of `fake`.
    pub(crate) fn on(fake: &Fake, platform: &Platform) -> Self {
        let (products, orders) = (product_api::router(platform), order_api::router(platform));
        let shop = Self { fake: fake.clone(), orders, products };
        shop.serve_products();
        shop
    }

    pub(crate) fn serve_products(&self) {
        self.fake.serve(PRODUCTS, self.products.clone());
    }

    pub(crate) fn order(&self, customer: &str, key: &str, lines: &Value) -> Answer {
        order(&self.orders, customer, key, lines)
    }

    /// Free and held items.
    pub(crate) fn stock(&self, product: &str) -> (u64, u64) {
        let stock = get(&self.products, &format!("/products/{product}/stock")).json();
        (stock["stock"].as_u64().unwrap(), stock["held"].as_u64().unwrap())
    }

    pub(crate) fn set_stock(&self, product: &str, stock: u32) {
        self.admin("PUT", &format!("/products/{product}/stock"), &json!({"stock": stock}));
    }

    pub(crate) fn change(&self, product: &str, change: &Value) {
        self.admin("PATCH", &format!("/products/{product}"), change);
    }

    fn admin(&self, method: &str, target: &str, body: &Value) {
        let token = ("authorization", "Bearer admin");
        let answer = send(&self.products, method, target, &[JSON, token], &body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Reserves items for an order that the order API does not know.
    pub(crate) fn hold(&self, product: &str, quantity: u32) {
        let body = json!({"order": "f".repeat(32), "attempt": 1, "lines": line(product, quantity), "stale_after": 1});
        let token = ("authorization", "Bearer service");
        let answer = send(&self.products, "POST", "/reservations", &[JSON, token], &body.to_string());
        assert_eq!(answer.json()["outcome"], "reserved");
    }

    /// Ends all holds that are stale after another lease.
    pub(crate) fn settle(&self) {
        self.fake.advance(LEASE + Duration::from_millis(1));
        let token = ("authorization", "Bearer service");
        let answer = send(&self.orders, "POST", "/orders/settlements", &[token], "");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["settled"], answer.json()["open"], "no attempt runs any more");
    }
}
