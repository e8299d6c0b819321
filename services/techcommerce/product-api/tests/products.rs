//! The product API as its clients see it.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use proptest::prelude::*;
use serde_json::{Value, json};
use web::Store as _;
use web::fake::{Answer, Fake, get, send};

const ADMIN: (&str, &str) = ("authorization", "Bearer admin");
const SERVICE: (&str, &str) = ("authorization", "Bearer service");
const JSON: (&str, &str) = ("content-type", "application/json");

struct Shop {
    fake: Fake,
    router: axum::Router,
}

impl Shop {
    fn new() -> Self {
        let fake = Fake::new();
        fake.setting("admin_token", "admin");
        fake.setting("service_token", "service");
        let router = product_api::router(&fake.platform());
        Self { fake, router }
    }

    fn get(&self, target: &str) -> Value {
        let answer = get(&self.router, target);
        assert_eq!(answer.status, 200, "{target}: {}", answer.text());
        answer.json()
    }

    fn send(&self, method: &str, target: &str, token: (&str, &str), body: &Value) -> Answer {
        send(&self.router, method, target, &[token, JSON], &body.to_string())
    }

    /// Free and held items.
    fn stock(&self, product: &str) -> (u64, u64) {
        let stock = self.get(&format!("/products/{product}/stock"));
        (stock["stock"].as_u64().unwrap(), stock["held"].as_u64().unwrap())
    }

    fn reserve(&self, order: u32, attempt: u32, lines: &Value) -> Value {
        let order = format!("{order:032x}");
        let body = json!({"order": order, "attempt": attempt, "lines": lines, "stale_after": 1000});
        let answer = self.send("POST", "/reservations", SERVICE, &body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    fn settle(&self, order: u32, attempt: u32, lines: &Value, outcome: &str) {
        let order = format!("{order:032x}");
        let body = json!({"order": order, "attempt": attempt, "lines": lines, "outcome": outcome});
        assert_eq!(self.send("POST", "/reservations/settlements", SERVICE, &body).status, 204);
    }
}

#[test]
fn a_page_that_was_answered_before_has_what_has_changed_since() {
    let shop = Shop::new();
    // More selections than an instance keeps, each of them twice.
    let selections: Vec<_> = (1..=12).map(|count| format!("/products?per_page={count}")).collect();
    let stock = |page: &Value| page["data"][0]["stock"].clone();
    let id = shop.get(&selections[0])["data"][0]["id"].as_str().unwrap().to_owned();
    for (round, target) in selections.iter().chain(&selections).enumerate() {
        let before = shop.get(target);
        assert_eq!(shop.get(target), before, "{target}");
        let new = json!({"stock": 100 + round});
        assert_eq!(shop.send("PUT", &format!("/products/{id}/stock"), ADMIN, &new).status, 200);
        assert_eq!(stock(&shop.get(target)), 100 + round, "{target}");
        let name = json!({"name": format!("A {round}")});
        assert_eq!(shop.send("PATCH", &format!("/products/{id}"), ADMIN, &name).status, 200);
        assert_eq!(shop.get(target)["data"][0]["name"], format!("A {round}"), "{target}");
        shop.fake.store("default").delete(&format!("stock/{id}")).unwrap();
        assert_eq!(stock(&shop.get(target)), 0, "{target}");
    }
}

#[test]
fn a_new_shop_has_products_in_pages() {
    let shop = Shop::new();
    let first = shop.get("/products?per_page=10");
    assert_eq!((first["total"].as_u64(), first["page"].as_u64()), (Some(24), Some(1)));
    let name = |page: &Value, n: usize| page["data"][n]["name"].as_str().unwrap().to_owned();
    assert_eq!(name(&first, 0), "Amber Anniversary Keyboard");
    let last = shop.get("/products?per_page=10&page=3");
    assert_eq!(last["data"].as_array().unwrap().len(), 4);
    assert!(name(&first, 9) < name(&last, 0));
    assert_eq!(shop.get("/products?page=4294967295&per_page=100")["data"], json!([]));
    for (target, why) in [
        ("/products?page=0", "page must be 1 or more"),
        ("/products?per_page=101", "per_page must be 1 to 100, not 101"),
        ("/products?page=x", "page"),
        ("/products?sort=name", "sort"),
    ] {
        let answer = get(&shop.router, target);
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.text().contains(why), "{target}: {}", answer.text());
    }
}

#[test]
fn products_are_found_by_words_and_category() {
    let shop = Shop::new();
    assert_eq!(shop.get("/products?q=KEYBOARD")["total"], 4);
    assert_eq!(shop.get("/products?q=keyboard&category=input")["total"], 3);
    let one = shop.get("/products/relay-hub");
    assert_eq!(one["price"], json!({"amount": 6900, "currency": "EUR"}));
    assert_eq!(get(&shop.router, "/products/none").status, 404);
    assert_eq!(get(&shop.router, "/products/NONE").status, 400);
}

#[test]
fn a_shop_is_seeded_once_whatever_it_becomes() {
    let shop = Shop::new();
    shop.get("/products");
    let change = json!({"name": "Hub", "price": {"amount": 5, "currency": "EUR"}});
    assert_eq!(shop.send("PATCH", "/products/relay-hub", ADMIN, &change).status, 200);
    assert_eq!(shop.send("PUT", "/products/relay-hub/stock", ADMIN, &json!({"stock": 3})).status, 200);
    // Another instance, after a restart.
    let again = product_api::router(&shop.fake.platform());
    let hub = get(&again, "/products/relay-hub").json();
    assert_eq!((hub["name"].as_str(), hub["stock"].as_u64()), (Some("Hub"), Some(3)));
}

#[test]
fn only_the_administrator_adds_and_changes_products() {
    let shop = Shop::new();
    let new = json!({"id": "new", "name": "New", "description": "It is new.", "category": "audio",
        "price": {"amount": 100, "currency": "JPY"}, "stock": 2});
    assert_eq!(shop.send("POST", "/products", SERVICE, &new).status, 401);
    let added = shop.send("POST", "/products", ADMIN, &new);
    assert_eq!((added.status, added.headers["location"].to_str().unwrap()), (201, "/products/new"));
    assert_eq!(shop.get("/products/new"), new);
    assert_eq!(shop.send("POST", "/products", ADMIN, &new).status, 409);
    for (member, value, why) in [
        ("name", json!(""), "name must be 1 to 80 characters"),
        ("price", json!({"amount": 1.5, "currency": "EUR"}), "price"),
        ("price", json!({"amount": 1, "currency": "EURO"}), "ISO 4217"),
        (
            "price",
            json!({"amount": 1_000_000_000_001_u64, "currency": "EUR"}),
            "price: the amount is too large",
        ),
        ("stock", json!(1_000_001), "stock must be at most 1000000"),
        ("stock", json!(-1), "stock"),
        ("extra", json!(1), "extra"),
    ] {
        let mut bad = new.clone();
        bad["id"] = json!("bad");
        bad[member] = value;
        let answer = shop.send("POST", "/products", ADMIN, &bad);
        assert_eq!(answer.status, 422, "{member}: {}", answer.text());
        assert!(answer.text().contains(why), "{member}: {}", answer.text());
    }
    assert_eq!(shop.send("PATCH", "/products/none", ADMIN, &json!({})).status, 404);
    assert_eq!(shop.send("PUT", "/products/none/stock", ADMIN, &json!({"stock": 1})).status, 404);
    shop.fake.setting("admin_token", "");
    let closed = shop.send("POST", "/products", ADMIN, &new);
    assert_eq!(closed.status, 403);
    assert!(closed.text().contains("setting admin_token is not set"), "{}", closed.text());
}

#[test]
fn an_order_reserves_all_its_lines_or_none() {
    let shop = Shop::new();
    let both = json!([{"product": "amber-edition", "quantity": 1}, {"product": "vault-nas", "quantity": 2}]);
    let reserved = shop.reserve(1, 1, &both);
    assert_eq!(reserved["outcome"], "reserved");
    assert_eq!(reserved["lines"][1]["unit_price"], json!({"amount": 42900, "currency": "EUR"}));
    assert_eq!(shop.reserve(1, 1, &both)["outcome"], "reserved", "a repeated request");
    assert_eq!((shop.stock("amber-edition"), shop.stock("vault-nas")), ((0, 1), (5, 2)));

    // The other order gets the second line only, so it gets neither.
    let contended = shop.reserve(
        2,
        1,
        &json!([{"product": "amber-edition", "quantity": 1}, {"product": "aurora-14", "quantity": 1}]),
    );
    assert_eq!(
        (contended["outcome"].as_str(), contended["product"].as_str()),
        (Some("contended"), Some("amber-edition"))
    );
    assert_eq!(contended["stale"], json!([]));
    assert_eq!(shop.stock("aurora-14"), (25, 0));

    shop.settle(1, 1, &both, "sold");
    shop.settle(1, 1, &both, "sold");
    assert_eq!((shop.stock("amber-edition"), shop.stock("vault-nas")), ((0, 0), (5, 0)));
    let refused = shop.reserve(
        2,
        1,
        &json!([{"product": "aurora-14", "quantity": 1}, {"product": "vault-nas", "quantity": 6}]),
    );
    assert_eq!(
        refused["reason"],
        json!({"reason": "out_of_stock", "product": "vault-nas", "requested": 6, "available": 5})
    );
    assert_eq!(shop.stock("aurora-14"), (25, 0), "the first line went back");
    let unknown = shop.reserve(2, 1, &json!([{"product": "none", "quantity": 1}]));
    assert_eq!(unknown["reason"]["reason"], "unknown_product");
}

#[test]
fn what_nobody_settles_is_stale() {
    let shop = Shop::new();
    let line = json!([{"product": "amber-edition", "quantity": 1}]);
    shop.reserve(1, 1, &line);
    assert_eq!(shop.reserve(2, 1, &line)["stale"], json!([]));
    shop.fake.advance(std::time::Duration::from_millis(1001));
    let stale = &shop.reserve(2, 1, &line)["stale"];
    assert_eq!(stale[0]["order"], format!("{:032x}", 1));
    let target = "/reservations?stale_after=1000";
    let listed = send(&shop.router, "GET", target, &[SERVICE], "").json();
    assert_eq!((&listed["data"], &listed["more"]), (stale, &json!(false)));
    shop.settle(1, 1, &line, "released");
    assert_eq!(shop.reserve(2, 1, &line)["outcome"], "reserved");
}

#[test]
fn reservations_are_for_the_order_api() {
    let shop = Shop::new();
    for (method, target) in [
        ("POST", "/reservations"),
        ("POST", "/reservations/settlements"),
        ("GET", "/reservations?stale_after=1"),
    ] {
        let body = json!({"order": "0".repeat(32), "attempt": 1, "lines": [{"product": "a", "quantity": 1}],
            "stale_after": 1, "outcome": "sold"});
        let mut body = body;
        let unused = if target == "/reservations" { "outcome" } else { "stale_after" };
        body.as_object_mut().unwrap().remove(unused);
        assert_eq!(shop.send(method, target, ADMIN, &body).status, 401, "{method} {target}");
    }
}

proptest! {
    #[test]
    fn no_request_is_an_internal_error(target in "/products[ -~]{0,60}", body in ".*") {
        let shop = Shop::new();
        let Ok(uri) = target.parse::<axum::http::Uri>() else { return Ok(()) };
        for method in ["GET", "POST", "PATCH", "PUT"] {
            let answer = send(&shop.router, method, &uri.to_string(), &[ADMIN, JSON], &body);
            prop_assert!(answer.status < 500, "{} {}: {}", method, target, answer.text());
        }
    }
}
