//! The shop's pages as a browser without a script uses them, on the real APIs.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::Read as _;
use std::time::Duration;

use axum::Router;
use proptest::prelude::*;
use web::FetchError;
use web::fake::{Answer, Fake, get, send};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

struct Browser {
    fake: Fake,
    shop: Router,
    cookies: Vec<(String, String)>,
}

impl Browser {
    fn new() -> Self {
        let fake = Fake::new();
        fake.set_time(Duration::from_secs(1_796_000_000));
        fake.setting("service_token", "service");
        let platform = fake.platform();
        fake.serve("product-api.spin.internal", product_api::router(&platform));
        fake.serve("order-api.spin.internal", order_api::router(&platform));
        Self { shop: shop_frontend::router(&platform), fake, cookies: Vec::new() }
    }

    fn request(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let headers = [headers, &[("cookie", &*cookies)]].concat();
        let answer = send(&self.shop, method, target, &headers, body);
        for cookie in answer.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        answer
    }

    fn open(&mut self, target: &str) -> Answer {
        self.request("GET", target, &[], "")
    }

    fn submit(&mut self, target: &str, body: &str) -> Answer {
        self.request("POST", target, &[FORM, OWN], body)
    }

    fn add(&mut self, product: &str, quantity: u32) {
        let answer = self.submit("/basket", &format!("product={product}&action=add&quantity={quantity}"));
        assert_eq!((answer.status, answer.header("location")), (303, "/basket"), "{}", answer.text());
    }

    /// The fields of the order form, as a browser sends them.
    fn order_form(&mut self) -> String {
        let page = self.open("/checkout");
        let fields = page.text().split("<input type=\"hidden\" ").skip(1).map(|field| {
            let attribute =
                |name: &str| field.split(&format!("{name}=\"")).nth(1).unwrap().split('"').next().unwrap();
            format!("{}={}", attribute("name"), attribute("value"))
        });
        let fields: Vec<_> = fields.chain(["agree=yes".to_owned()]).collect();
        fields.join("&")
    }
}

#[test]
fn a_visitor_finds_orders_and_follows_a_product() {
    let mut browser = Browser::new();
    let found = browser.open("/?q=amber");
    assert_eq!(found.status, 200);
    assert!(found.text().contains("1 product<") && found.text().contains("Only 1 left"), "{}", found.text());
    assert!(browser.open("/product/amber-edition").text().contains("249.00 EUR"));
    browser.add("amber-edition", 1);
    browser.add("relay-hub", 2);
    let basket = browser.open("/basket");
    assert!(basket.text().contains("Total: <strong>387.00 EUR"), "{}", basket.text());

    let form = browser.order_form();
    let placed = browser.submit("/checkout", &form);
    assert_eq!(placed.status, 303, "{}", placed.text());
    let location = placed.header("location").to_owned();
    let order = browser.open(&location);
    for text in [
        "Status: <strong>Confirmed",
        "2 × <a href=\"/product/relay-hub\">Relay USB-C Hub",
        "387.00 EUR",
        "2026-11-30",
    ] {
        assert!(order.text().contains(text), "{text}: {}", order.text());
    }
    assert!(browser.open("/basket").text().contains("The basket is empty"));
    assert!(browser.open("/my-orders").text().contains(&location));
    assert!(browser.open("/product/amber-edition").text().contains("Sold out"));

    // The form is sent again, as by a second click.
    let again = browser.submit("/checkout", &form);
    assert_eq!((again.status, again.header("location")), (303, &*location));
    let stock = get(&product_api::router(&browser.fake.platform()), "/products/relay-hub/stock").json();
    assert_eq!((&stock["stock"], &stock["held"]), (&88.into(), &0.into()));
}

#[test]
fn what_is_sold_meanwhile_is_said_and_nothing_is_ordered() {
    let mut browser = Browser::new();
    browser.add("amber-edition", 1);
    let form = browser.order_form();
    let mut other = Browser { fake: browser.fake.clone(), shop: browser.shop.clone(), cookies: Vec::new() };
    other.add("amber-edition", 1);
    let others = other.order_form();
    assert_eq!(other.submit("/checkout", &others).status, 303);

    let refused = browser.submit("/checkout", &form);
    assert_eq!(refused.status, 409);
    assert!(
        refused.text().contains("Amber Anniversary Keyboard is sold out. Please remove it."),
        "{}",
        refused.text()
    );
    browser.submit("/basket", "product=amber-edition&action=set&quantity=0");
    assert!(browser.open("/basket").text().contains("The basket is empty"));
    assert!(browser.open("/my-orders").text().contains("no orders"));
}

#[test]
fn an_order_form_is_complete_and_for_one_basket() {
    let mut browser = Browser::new();
    browser.add("relay-hub", 1);
    let form = browser.order_form();
    let key = form.split('&').find(|field| field.starts_with("key=")).unwrap().to_owned();
    let without_consent = browser.submit("/checkout", &form.replace("&agree=yes", ""));
    assert_eq!(without_consent.status, 422);
    assert!(without_consent.text().contains(&key.replace("key=", "value=\"")), "the form keeps its key");
    for body in ["", "agree=yes", &*format!("{key}&agree=yes"), &*format!("{key}&line=relay-hub:0&agree=yes")]
    {
        assert_eq!(browser.submit("/checkout", body).status, 400, "{body}");
    }
    assert_eq!(browser.submit("/checkout", &form).status, 303);
    browser.add("relay-hub", 1);
    let other_basket = format!("{key}&line=relay-hub:3&agree=yes");
    let conflict = browser.submit("/checkout", &other_basket);
    assert_eq!(conflict.status, 409);
    assert!(conflict.text().contains("was sent before with another basket"), "{}", conflict.text());
    assert!(!conflict.text().contains(&key.replace("key=", "value=\"")), "the new form has a new key");
}

#[test]
fn an_order_without_an_answer_is_placed_once_when_it_is_sent_again() {
    let mut browser = Browser::new();
    browser.add("relay-hub", 1);
    let form = browser.order_form();
    let products = product_api::router(&browser.fake.platform());
    browser.fake.fail("order-api.spin.internal", FetchError::Timeout);
    let failed = browser.submit("/checkout", &form);
    assert_eq!(failed.status, 503);
    assert!(
        failed.text().contains("It will be placed once") || failed.text().contains("it will be placed once")
    );
    browser.fake.serve("order-api.spin.internal", order_api::router(&browser.fake.platform()));
    assert_eq!(browser.submit("/checkout", &form).status, 303);
    assert_eq!(get(&products, "/products/relay-hub/stock").json()["stock"], 89);
}

#[test]
fn without_its_apis_the_shop_says_so_and_shows_no_cause() {
    let mut browser = Browser::new();
    browser.fake.fail("product-api.spin.internal", FetchError::Connect("secret-host".to_owned()));
    let page = browser.open("/");
    assert_eq!(page.status, 503);
    assert!(page.text().contains("does not work at the moment") && !page.text().contains("secret-host"));
    assert!(browser.fake.log_lines().iter().any(|line| line.contains("secret-host")));
    assert_eq!(browser.open("/no/such/page").status, 404);
    assert_eq!(browser.open("/product/NONE").status, 404);
    assert_eq!(browser.open("/order/none").status, 404);
}

#[test]
fn another_sites_form_changes_nothing() {
    let mut browser = Browser::new();
    let body = "product=relay-hub&action=add&quantity=1";
    for headers in
        [&[FORM, ("sec-fetch-site", "cross-site")][..], &[FORM, ("origin", "http://evil.example")], &[FORM]]
    {
        let answer = browser.request("POST", "/basket", headers, body);
        assert_eq!(answer.status, 403, "{headers:?}");
        assert!(answer.header("set-cookie").is_empty());
    }
    let own =
        [FORM, ("host", "shop.example"), ("origin", "https://shop.example"), ("x-forwarded-proto", "https")];
    let answer = browser.request("POST", "/basket", &own, body);
    assert_eq!(answer.status, 303);
    assert!(answer.header("set-cookie").ends_with("; Secure"), "{}", answer.header("set-cookie"));
}

#[test]
fn pages_have_a_strict_policy_and_assets_are_kept_for_good() {
    let mut browser = Browser::new();
    let page = browser.open("/");
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    for forbidden in ["<style", " style=", " onclick=", "javascript:"] {
        assert!(!page.text().contains(forbidden), "{forbidden}");
    }
    let assets: Vec<_> = page.text().split('"').filter(|text| text.starts_with("/assets/")).collect();
    assert_eq!(assets.len(), 3);
    for asset in assets {
        let plain = get(&browser.shop, asset);
        assert_eq!(
            (plain.status, plain.header("cache-control")),
            (200, "public, max-age=31536000, immutable")
        );
        for coding in ["br", "gzip"] {
            let coded = send(&browser.shop, "GET", asset, &[("accept-encoding", coding)], "");
            assert_eq!((coded.header("content-encoding"), coded.header("vary")), (coding, "accept-encoding"));
            assert!(coded.body.len() < plain.body.len(), "{asset} {coding}");
        }
    }
    assert_eq!(get(&browser.shop, "/assets/shop.css").status, 404, "only names with a hash");
    let packed = browser.request("GET", "/", &[("accept-encoding", "gzip, br")], "");
    assert_eq!(packed.header("content-encoding"), "gzip");
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*packed.body).read_to_string(&mut text).unwrap();
    assert_eq!(text, page.text());
}

proptest! {
    #[test]
    fn no_request_is_an_internal_error(target in "/[ -~]{0,60}", cookie in "[ -~]*", body in "[ -~]{0,200}") {
        let browser = Browser::new();
        let Ok(uri) = target.parse::<axum::http::Uri>() else { return Ok(()) };
        let headers = [FORM, OWN, ("cookie", &*cookie)];
        for (method, target) in [("GET", &*uri.to_string()), ("POST", "/basket"), ("POST", "/checkout"), ("GET", "/basket")] {
            let answer = send(&browser.shop, method, target, &headers, &body);
            prop_assert!(answer.status < 500, "{} {}: {}", method, target, answer.text());
        }
    }
}
