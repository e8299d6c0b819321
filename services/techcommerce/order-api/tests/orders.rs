//! The order API as its clients see it, on the real product API.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod shop;

use std::time::Duration;

use serde_json::json;
use shop::{LEASE, Shop, line};
use web::FetchError;
use web::fake::{get, send};

#[test]
fn an_order_is_confirmed_with_its_prices_and_takes_the_stock() {
    let shop = Shop::new();
    let answer = shop.order(
        "c",
        "k",
        &json!([{"product": "vault-nas", "quantity": 2}, {"product": "relay-hub", "quantity": 1}]),
    );
    assert_eq!(answer.status, 201, "{}", answer.text());
    let order = answer.json();
    assert_eq!(order["total"], json!({"amount": 2 * 42900 + 6900, "currency": "EUR"}));
    assert_eq!(
        order["lines"][0],
        json!({"product": "relay-hub", "name": "Relay USB-C Hub", "quantity": 1,
        "unit_price": {"amount": 6900, "currency": "EUR"}})
    );
    let location = answer.headers["location"].to_str().unwrap();
    assert_eq!(get(&shop.orders, location).json(), order);
    assert_eq!((shop.stock("vault-nas"), shop.stock("relay-hub")), ((5, 0), (89, 0)));
}

#[test]
fn the_same_key_has_the_same_answer_and_only_for_the_same_order() {
    let shop = Shop::new();
    let first = shop.order("c", "k", &line("vault-nas", 2));
    let again = shop.order("c", "k", &line("vault-nas", 2));
    assert_eq!((again.status, again.json()), (201, first.json()));
    assert!(!first.headers.contains_key("idempotency-replayed"));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!(shop.stock("vault-nas"), (5, 0));
    // The same order in other words.
    let split = json!([{"product": "vault-nas", "quantity": 1}, {"quantity": 1, "product": "vault-nas"}]);
    assert_eq!(shop.order("c", "k", &split).json(), first.json());
    let other = shop.order("c", "k", &line("vault-nas", 1));
    assert_eq!(other.status, 422);
    assert!(other.text().contains("was used for another order"), "{}", other.text());
    assert_ne!(shop.order("d", "k", &line("vault-nas", 2)).json()["id"], first.json()["id"]);

    // A refusal is an answer, too: more stock does not change it.
    let refused = shop.order("c", "l", &line("vault-nas", 9));
    assert_eq!(refused.status, 409);
    shop.set_stock("vault-nas", 100);
    let again = shop.order("c", "l", &line("vault-nas", 9));
    assert_eq!((again.status, again.json()), (409, refused.json()));
    assert_eq!(again.headers["idempotency-replayed"], "true");
}

#[test]
fn an_order_without_a_valid_key_or_body_is_refused() {
    let shop = Shop::new();
    let json_type = ("content-type", "application/json");
    let body = json!({"customer": "c", "lines": line("vault-nas", 1)}).to_string();
    let missing = send(&shop.orders, "POST", "/orders", &[json_type], &body);
    assert_eq!(missing.status, 400);
    assert!(missing.text().contains("Idempotency-Key is missing"), "{}", missing.text());
    for (body, status, why) in [
        (json!({"customer": "c", "lines": []}), 422, "lines: an order must have a line"),
        (json!({"customer": "c d", "lines": line("a", 1)}), 422, "customer: a customer's ID must be"),
        (
            json!({"customer": "c", "lines": line("a", 100)}),
            422,
            "lines[0].quantity: a quantity must be 1 to 99, not 100",
        ),
        (json!({"customer": "c", "lines": line("a", 1), "total": 1}), 422, "unknown field `total`"),
        (json!({"customer": "c", "lines": line("none", 1)}), 422, "there is no product none"),
    ] {
        let answer =
            send(&shop.orders, "POST", "/orders", &[json_type, ("idempotency-key", "k")], &body.to_string());
        assert_eq!(answer.status, status, "{}", answer.text());
        assert!(answer.text().contains(why), "{}", answer.text());
    }
    assert_eq!(
        send(&shop.orders, "POST", "/orders", &[json_type, ("idempotency-key", "k")], "{").status,
        400
    );
    assert_eq!(get(&shop.orders, "/orders/0123").status, 400);
    assert_eq!(get(&shop.orders, &format!("/orders/{}", "0".repeat(32))).status, 404);
}

#[test]
fn products_in_two_currencies_are_not_one_order() {
    let shop = Shop::new();
    shop.change("relay-hub", &json!({"price": {"amount": 100, "currency": "USD"}}));
    let answer = shop.order(
        "c",
        "k",
        &json!([{"product": "relay-hub", "quantity": 1}, {"product": "vault-nas", "quantity": 1}]),
    );
    assert_eq!(answer.status, 422);
    assert!(answer.text().contains("more than one currency"), "{}", answer.text());
    shop.change("relay-hub", &json!({"price": {"amount": 1_000_000_000_000_u64, "currency": "EUR"}}));
    assert_eq!(shop.order("c", "l", &line("relay-hub", 2)).status, 422, "the sum is out of bounds");
    assert_eq!(shop.stock("relay-hub"), (90, 0));
}

#[test]
fn a_customer_has_all_orders_in_pages_the_newest_first() {
    let shop = Shop::new();
    let mut ids = Vec::new();
    for n in 0..120 {
        let answer = shop.order("c", &format!("k{n}"), &line("braid-cable", 1));
        ids.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    shop.order("c", "k7", &line("braid-cable", 1));
    shop.order("d", "k", &line("braid-cable", 1));
    ids.reverse();
    let (mut listed, mut target) = (Vec::new(), "/orders?customer=c".to_owned());
    loop {
        let page = get(&shop.orders, &target).json();
        let orders = page["data"].as_array().unwrap();
        assert!(orders.len() <= 50);
        listed.extend(orders.iter().map(|order| order["id"].as_str().unwrap().to_owned()));
        match page["next"].as_u64() {
            Some(next) => target = format!("/orders?customer=c&page={next}"),
            None => break,
        }
    }
    assert_eq!(listed, ids);
    assert_eq!(get(&shop.orders, "/orders?customer=nobody").json(), json!({"data": []}));
    assert_eq!(get(&shop.orders, "/orders").status, 400);
}

#[test]
fn an_order_without_the_product_api_has_no_answer_and_is_placed_by_a_retry() {
    let shop = Shop::new();
    shop.fake.fail("product-api.spin.internal", FetchError::Timeout);
    let answer = shop.order("c", "k", &line("vault-nas", 1));
    assert_eq!((answer.status, answer.headers["retry-after"].to_str().unwrap()), (504, "1"));
    assert!(answer.text().contains("product-api: no response in time"), "{}", answer.text());
    shop.serve_products();
    assert_eq!(shop.order("c", "k", &line("vault-nas", 1)).status, 201);
    shop.fake.setting("service_token", "");
    let closed = shop.order("c", "l", &line("vault-nas", 1));
    assert_eq!(closed.status, 503);
    assert!(closed.text().contains("setting service_token is not set"), "{}", closed.text());
}

#[test]
fn the_last_items_wait_for_the_orders_that_hold_them() {
    let shop = Shop::new();
    shop.hold("amber-edition", 1);
    let waiting = shop.order("c", "k", &line("amber-edition", 1));
    assert_eq!((waiting.status, waiting.headers["retry-after"].to_str().unwrap()), (503, "1"));
    shop.fake.advance(LEASE + Duration::from_millis(1));
    // Nobody knows the order that holds the item, so the item goes back.
    assert_eq!(shop.order("c", "k", &line("amber-edition", 1)).status, 201);
    assert_eq!(shop.stock("amber-edition"), (0, 0));
    assert_eq!(shop.order("d", "k", &line("amber-edition", 1)).status, 409);
}

#[test]
fn settlements_end_what_is_stale() {
    let shop = Shop::new();
    shop.hold("vault-nas", 3);
    let settle = || {
        let token = ("authorization", "Bearer service");
        send(&shop.orders, "POST", "/orders/settlements", &[token], "").json()
    };
    assert_eq!(settle(), json!({"settled": 0, "open": 0, "more": false}));
    shop.fake.advance(LEASE + Duration::from_millis(1));
    assert_eq!(settle(), json!({"settled": 1, "open": 1, "more": false}));
    assert_eq!(shop.stock("vault-nas"), (7, 0));
    assert_eq!(send(&shop.orders, "POST", "/orders/settlements", &[], "").status, 401);
}
