//! A whole purchase, by the pages and by the APIs.

use testkit::http::Response;

use techcommerce_e2e::{Instances, form, options, order, set_stock, stock};

suite!(
    a_visitor_orders_by_forms,
    a_program_orders_by_the_apis,
    reservations_cannot_be_reached_from_outside,
    without_tokens_the_shop_is_closed_for_changes_and_orders,
    bodies_are_compressed_as_the_client_accepts,
);

fn cookies(response: &Response) -> Vec<String> {
    let set = response.headers.iter().filter(|(name, _)| name == "set-cookie");
    set.map(|(_, value)| value.split(';').next().unwrap().to_owned()).collect()
}

/// The value of a hidden field.
fn field(page: &str, name: &str) -> String {
    let field = page.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap();
    field.split('"').next().unwrap().to_owned()
}

async fn a_visitor_orders_by_forms(instances: Instances) {
    let host = options(instances).await.start().await;
    assert!(host.get("/?q=hub").await.is(200).text().contains("Relay USB-C Hub"));
    let added = form(&host, "/basket", "", "product=relay-hub&action=add&quantity=2").send().await.is(303);
    let mut visitor = cookies(&added);
    let with = |cookies: &[String]| cookies.join("; ");
    let checkout = host.request("GET", "/checkout").header("cookie", &with(&visitor)).send().await.is(200);
    visitor.extend(cookies(&checkout));
    let (key, line) = (field(checkout.text(), "key"), field(checkout.text(), "line"));
    let body = format!("key={key}&line={line}&agree=yes");
    let mut locations = Vec::new();
    // The second is a second click.
    for _ in 0..2 {
        let placed = form(&host, "/checkout", &with(&visitor), &body).send().await.is(303);
        locations.push(placed.header("location").unwrap().to_owned());
    }
    assert_eq!(locations[0], locations[1]);
    let page = host.get(&locations[0]).await.is(200);
    assert!(page.text().contains("Confirmed") && page.text().contains("138.00 EUR"), "{}", page.text());
    assert_eq!(stock(&host, "relay-hub").await, (88, 0));
}

async fn a_program_orders_by_the_apis(instances: Instances) {
    let host = options(instances).await.start().await;
    set_stock(&host, "relay-hub", 1).await;
    let first = order("c", "one", "relay-hub").to(host.address()).send().await.is(201);
    let again = order("c", "one", "relay-hub").to(host.address()).send().await.is(201);
    assert_eq!((again.header("idempotency-replayed"), again.json()), (Some("true"), first.json()));
    assert_eq!(host.get(first.header("location").unwrap()).await.is(200).json(), first.json());
    assert_eq!(host.get("/orders?customer=c").await.is(200).json()["data"][0], first.json());
    let refused = order("c", "two", "relay-hub").to(host.address()).send().await.is(409);
    assert_eq!(refused.header("content-type"), Some("application/problem+json"));
    order("c", "one", "relay-dock").to(host.address()).send().await.is(422);
    assert_eq!(stock(&host, "relay-hub").await, (0, 0));
}

async fn reservations_cannot_be_reached_from_outside(instances: Instances) {
    let host = options(instances).await.start().await;
    for target in ["/reservations", "/reservations/settlements", "/products/../reservations"] {
        let answer =
            form(&host, target, "", "{}").header("authorization", "Bearer services-token").send().await;
        assert!([400, 404, 405].contains(&answer.status), "{target}: {}", answer.status);
    }
}

async fn without_tokens_the_shop_is_closed_for_changes_and_orders(instances: Instances) {
    let host = options(instances).await.setting("admin_token", "").setting("service_token", "").start().await;
    host.get("/").await.is(200);
    let change = host.request("PUT", "/products/relay-hub/stock").header("content-type", "application/json");
    change.header("authorization", "Bearer ").body("{\"stock\":1}").send().await.is(403);
    let closed = order("c", "one", "relay-hub").to(host.address()).send().await.is(503);
    assert!(closed.text().contains("setting service_token is not set"), "{}", closed.text());
}

async fn bodies_are_compressed_as_the_client_accepts(instances: Instances) {
    let host = options(instances).await.start().await;
    let page = host.get("/").await.is(200);
    let style = page.text().split('"').find(|text| text.ends_with(".css")).unwrap();
    for (target, coding) in [("/", "gzip"), (style, "gzip"), (style, "br")] {
        let plain = host.get(target).await.is(200);
        let coded = host.request("GET", target).header("accept-encoding", coding).send().await.is(200);
        assert_eq!(coded.header("content-encoding"), Some(coding));
        assert!(coded.body.len() * 2 < plain.body.len(), "{target} {coding}");
    }
}
