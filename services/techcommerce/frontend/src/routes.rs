//! The routes.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::Markup;
use serde::Serialize;
use shop_model::{Lines, NewOrder, OrderId, OrderPage, ProductId};
use web::{Json, Level, Platform, Service};

use crate::api::{self, Api, Failure, Ordered};
use crate::assets;
use crate::basket::{Basket, NotAdded};
use crate::encoding;
use crate::form::Form;
use crate::origin;
use crate::pages::{self, BasketLine, Frame};
use crate::visit::{Visit, token};

const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The service.
pub fn router(platform: &Platform) -> Router {
    let routes = Router::new()
        .route("/", get(catalogue))
        .route("/product/{id}", get(product))
        .route("/basket", get(basket).post(change_basket))
        .route("/checkout", get(checkout).post(place))
        .route("/order/{id}", get(order))
        .route("/my-orders", get(orders))
        .route("/assets/{name}", get(assets::serve))
        .route("/{*path}", get(unknown))
        .layer(middleware::from_fn(origin::check))
        .with_state(platform.clone());
    Service::new("shop-frontend", platform)
        .openapi(include_str!("openapi.json"))
        .ready_if(|platform| api::origins(platform).map(drop))
        .routes(routes)
}

/// A page for this visitor.
struct Page<'a> {
    platform: &'a Platform,
    visit: &'a Visit,
    basket: &'a Basket,
    notice: Option<&'a str>,
}

impl<'a> Page<'a> {
    fn of(platform: &'a Platform, visit: &'a Visit) -> Self {
        Self { platform, visit, basket: &visit.basket, notice: None }
    }

    fn api(&self) -> Api<'a> {
        Api { platform: self.platform, incoming: &self.visit.headers }
    }

    fn show(&self, status: StatusCode, title: &str, content: &Markup) -> Response {
        let frame = Frame { title, count: self.basket.count(), notice: self.notice };
        let body = pages::frame(&frame, content).into_string().into_bytes();
        let compressed =
            encoding::accepts(&self.visit.headers, "gzip").then(|| encoding::gzip(&body)).flatten();
        let mut response = match compressed {
            Some(body) => ([(header::CONTENT_ENCODING, "gzip")], body).into_response(),
            None => body.into_response(),
        };
        *response.status_mut() = status;
        for (name, value) in [
            (header::CONTENT_TYPE, "text/html; charset=utf-8"),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::CACHE_CONTROL, "private, no-cache"),
            (header::VARY, "accept-encoding, cookie"),
            // With `no-referrer`, browsers send forms with `Origin: null`.
            (header::REFERRER_POLICY, "same-origin"),
        ] {
            response.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        response
    }

    /// The page for a failure: the log has the cause, visitors do not.
    fn failed(&self, failure: Failure) -> Response {
        match failure {
            Failure::NotFound => not_found(self),
            Failure::Away(reason) => {
                self.platform.log(Level::Error, "an API of the shop does not answer", &[("error", &reason)]);
                let text = "The shop does not work at the moment. Please try again in a minute.";
                let content = pages::message("Something is wrong", text);
                self.show(StatusCode::SERVICE_UNAVAILABLE, "Something is wrong", &content)
            }
        }
    }

    /// The basket with its products. A product that is gone is left out.
    async fn lines(&self) -> Result<Vec<BasketLine>, Failure> {
        let mut lines = Vec::new();
        for line in self.basket.lines() {
            match self.api().product(&line.product).await {
                Ok(product) => lines.push(BasketLine { product, line: line.clone() }),
                Err(Failure::NotFound) => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(lines)
    }
}

fn not_found(page: &Page<'_>) -> Response {
    let content = pages::message("Not found", "There is nothing at this address.");
    page.show(StatusCode::NOT_FOUND, "Not found", &content)
}

async fn catalogue(State(platform): State<Platform>, visit: Visit, uri: Uri) -> Response {
    let page = Page::of(&platform, &visit);
    let form = Form::of_query(&uri);
    let query: String = form.field("q").chars().take(100).collect();
    let category = form.field("category");
    // A page that does not parse is the first.
    let number = form.field("page").parse().unwrap_or(1_u32).max(1);
    match page.api().products(&query, category, number).await {
        Ok(found) => {
            let search = pages::Search { query: &query, category };
            page.show(StatusCode::OK, "Products", &pages::catalogue(&search, &found))
        }
        Err(failure) => page.failed(failure),
    }
}

async fn product(State(platform): State<Platform>, visit: Visit, Path(id): Path<String>) -> Response {
    let page = Page::of(&platform, &visit);
    let Ok(id) = id.parse::<ProductId>() else { return not_found(&page) };
    match page.api().product(&id).await {
        Ok(product) => page.show(StatusCode::OK, &product.name, &pages::product(&product)),
        Err(failure) => page.failed(failure),
    }
}

async fn basket(State(platform): State<Platform>, visit: Visit) -> Response {
    show_basket(&Page::of(&platform, &visit), StatusCode::OK).await
}

async fn show_basket(page: &Page<'_>, status: StatusCode) -> Response {
    match page.lines().await {
        Ok(lines) => page.show(status, "Basket", &pages::basket(&lines)),
        Err(failure) => page.failed(failure),
    }
}

/// What the shop's script shows after a change.
#[derive(Debug, Serialize)]
struct Changed<'a> {
    count: u32,
    notice: &'a str,
}

async fn change_basket(State(platform): State<Platform>, visit: Visit, form: Form) -> Response {
    let page = Page::of(&platform, &visit);
    let fields = (form.field("product").parse::<ProductId>(), form.field("quantity").parse::<u32>());
    let (Ok(id), Ok(quantity)) = fields else {
        let notice = "The form was not complete. Please send it again.";
        return show_basket(&Page { notice: Some(notice), ..page }, StatusCode::BAD_REQUEST).await;
    };
    // Only what the shop has gets into a basket.
    let product = match page.api().product(&id).await {
        Ok(product) => product,
        Err(failure) => return page.failed(failure),
    };
    let mut basket = visit.basket.clone();
    let changed = match form.field("action") {
        "set" => basket.set(&id, quantity),
        _ => basket.add(&id, quantity.max(1)),
    };
    let notice = match changed {
        Ok(()) => format!("{} is in the basket. The basket has {} items.", product.name, basket.count()),
        Err(NotAdded::Full) => "The basket is full: order these products first.".to_owned(),
        Err(NotAdded::Enough) => format!("The basket has the most items of {} already.", product.name),
    };
    let wants_json = visit.headers.get(header::ACCEPT).is_some_and(|accept| accept == "application/json");
    let response = if wants_json {
        Json(Changed { count: basket.count(), notice: &notice }).into_response()
    } else if changed.is_ok() {
        Redirect::to("/basket").into_response()
    } else {
        let page = Page { notice: Some(&notice), ..page };
        return show_basket(&page, StatusCode::CONFLICT).await;
    };
    visit.keep_basket(&basket, response)
}

async fn checkout(State(platform): State<Platform>, visit: Visit) -> Response {
    show_checkout(&Page::of(&platform, &visit), StatusCode::OK, &token(&platform)).await
}

/// The order form. The visitor gets a customer's ID with it, so that a form that is sent twice is one customer's.
async fn show_checkout(page: &Page<'_>, status: StatusCode, key: &str) -> Response {
    let lines = match page.lines().await {
        Ok(lines) if lines.is_empty() => return Redirect::to("/basket").into_response(),
        Ok(lines) => lines,
        Err(failure) => return page.failed(failure),
    };
    let response = page.show(status, "Your order", &pages::checkout(&lines, key));
    match page.visit.customer_or_new(page.platform) {
        Some(customer) => page.visit.keep_customer(&customer, response),
        None => response,
    }
}

async fn place(State(platform): State<Platform>, visit: Visit, form: Form) -> Response {
    let page = Page::of(&platform, &visit);
    let key = form.field("key").to_owned();
    // The lines that the visitor saw, whatever the basket has become since.
    let lines: Vec<_> = form.fields("line").flat_map(|line| Basket::parse(line).lines().to_vec()).collect();
    let is_key = key.len() == 32 && key.bytes().all(|b| b.is_ascii_hexdigit());
    let (Ok(lines), Some(customer), true) = (Lines::try_from(lines), visit.customer().cloned(), is_key)
    else {
        let notice =
            "The order form was not complete, or the browser keeps no cookies. Please send it again.";
        return show_checkout(
            &Page { notice: Some(notice), ..page },
            StatusCode::BAD_REQUEST,
            &token(&platform),
        )
        .await;
    };
    if form.field("agree").is_empty() {
        let notice = "Please confirm that you order these items.";
        return show_checkout(&Page { notice: Some(notice), ..page }, StatusCode::UNPROCESSABLE_ENTITY, &key)
            .await;
    }
    match page.api().place(&NewOrder { customer, lines }, &key).await {
        Ok(Ordered::Confirmed(order)) => {
            let response = Redirect::to(&format!("/order/{}", order.id)).into_response();
            visit.keep_basket(&Basket::default(), response)
        }
        Ok(Ordered::Refused { product, available }) => {
            let notice = refusal(&page, product.as_ref(), available).await;
            show_basket(&Page { notice: Some(&notice), ..page }, StatusCode::CONFLICT).await
        }
        Ok(Ordered::KeyUsed) => {
            let notice =
                "This form was sent before with another basket. Please check the order and send it again.";
            show_checkout(&Page { notice: Some(notice), ..page }, StatusCode::CONFLICT, &token(&platform))
                .await
        }
        Err(failure) => {
            let reason = match failure {
                Failure::Away(reason) => reason,
                Failure::NotFound => "404".to_owned(),
            };
            platform.log(Level::Warn, "an order got no answer", &[("error", &reason)]);
            let notice =
                "The order is not placed yet. Please send it again in a moment: it will be placed once.";
            show_checkout(&Page { notice: Some(notice), ..page }, StatusCode::SERVICE_UNAVAILABLE, &key).await
        }
    }
}

async fn refusal(page: &Page<'_>, product: Option<&ProductId>, available: u32) -> String {
    let Some(product) = product else { return "These products cannot be ordered together.".to_owned() };
    match page.api().product(product).await {
        Ok(product) if available == 0 => format!("{} is sold out. Please remove it.", product.name),
        Ok(product) => format!("There are only {available} of {} left.", product.name),
        Err(_) => "A product is no longer in the shop.".to_owned(),
    }
}

async fn order(State(platform): State<Platform>, visit: Visit, Path(id): Path<String>) -> Response {
    let page = Page::of(&platform, &visit);
    let Ok(id) = id.parse::<OrderId>() else { return not_found(&page) };
    match page.api().order(&id).await {
        Ok(order) => page.show(StatusCode::OK, "Order", &pages::order(&order)),
        Err(failure) => page.failed(failure),
    }
}

async fn orders(State(platform): State<Platform>, visit: Visit, uri: Uri) -> Response {
    let page = Page::of(&platform, &visit);
    let number = Form::of_query(&uri).field("page").parse().ok();
    let found = match visit.customer() {
        Some(customer) => page.api().orders(customer, number).await,
        None => Ok(OrderPage { data: Vec::new(), next: None }),
    };
    match found {
        Ok(found) => page.show(StatusCode::OK, "My orders", &pages::orders(&found)),
        Err(failure) => page.failed(failure),
    }
}

async fn unknown(State(platform): State<Platform>, visit: Visit) -> Response {
    not_found(&Page::of(&platform, &visit))
}
