//! The routes.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use shop_model::{HoldPage, Product, ProductId, Reservation, Reserve, Settlement};
use web::{Json, Platform, Problem, Query, Secret, Service, authorize};

use crate::catalogue::{Change, InvalidEntry, MAX_PRODUCTS};
use crate::pages::{self, Selection};
use crate::repository::{Failure, Repository};
use crate::seed::NewProduct;

/// Products of a page, unless the request says.
const PER_PAGE: u32 = 20;
const MAX_PER_PAGE: u32 = 100;
const MAX_QUERY: usize = 100;
/// The most items of a product that can be reserved.
const MAX_STOCK: u32 = 1_000_000;

/// The service.
pub fn router(platform: &Platform) -> Router {
    let routes = Router::new()
        .route("/products", get(list).post(add))
        .route("/products/{id}", get(one).patch(change))
        .route("/products/{id}/stock", get(stock).put(set_stock))
        .route("/reservations", post(reserve).get(stale))
        .route("/reservations/settlements", post(settle))
        .with_state(platform.clone());
    Service::new("product-api", platform)
        .openapi(include_str!("openapi.json"))
        .ready_if(|platform| {
            platform.setting::<String>("store")?;
            platform.setting::<Secret>("admin_token")?;
            platform.setting::<Secret>("service_token").map(drop)
        })
        .routes(routes)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    #[serde(default)]
    q: String,
    category: Option<String>,
    page: Option<u32>,
    per_page: Option<u32>,
}

async fn list(State(platform): State<Platform>, Query(search): Query<Search>) -> Result<Response, Problem> {
    let (page, per_page) = (search.page.unwrap_or(1), search.per_page.unwrap_or(PER_PAGE));
    if page == 0 {
        return Err(Problem::bad_request("page must be 1 or more"));
    }
    if !(1..=MAX_PER_PAGE).contains(&per_page) {
        return Err(Problem::bad_request(format!("per_page must be 1 to {MAX_PER_PAGE}, not {per_page}")));
    }
    if search.q.chars().count() > MAX_QUERY {
        return Err(Problem::bad_request(format!("q has at most {MAX_QUERY} characters")));
    }
    let category = search.category.filter(|category| !category.is_empty());
    let selection = Selection { query: search.q, category, page, per_page };
    let body = pages::body(selection, &Repository::open(&platform)?)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

async fn one(State(platform): State<Platform>, Path(id): Path<ProductId>) -> Result<Json<Product>, Problem> {
    let repository = Repository::open(&platform)?;
    let catalogue = repository.catalogue()?;
    let entry = catalogue.get(&id).ok_or_else(|| unknown(&id))?;
    Ok(Json(repository.product(entry)?))
}

async fn add(
    State(platform): State<Platform>,
    headers: HeaderMap,
    Json(product): Json<NewProduct>,
) -> Result<Response, Problem> {
    authorize(&platform, &headers, "admin_token")?;
    check_stock(product.stock)?;
    let (entry, free) = product.split();
    let repository = Repository::open(&platform)?;
    repository.add(&entry, free).map_err(|failure| problem(failure, &entry.id))?;
    let location = format!("/products/{}", entry.id);
    let product = Json(repository.product(&entry)?);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], product).into_response())
}

async fn change(
    State(platform): State<Platform>,
    Path(id): Path<ProductId>,
    headers: HeaderMap,
    Json(change): Json<Change>,
) -> Result<Json<Product>, Problem> {
    authorize(&platform, &headers, "admin_token")?;
    let repository = Repository::open(&platform)?;
    let entry = repository.change(&id, &change).map_err(|failure| problem(failure, &id))?;
    Ok(Json(repository.product(&entry)?))
}

async fn stock(State(platform): State<Platform>, Path(id): Path<ProductId>) -> Result<Json<Value>, Problem> {
    let repository = Repository::open(&platform)?;
    repository.catalogue()?.get(&id).ok_or_else(|| unknown(&id))?;
    let stock = repository.stock(&id)?;
    Ok(Json(json!({"product": id, "stock": stock.free, "held": stock.held()})))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewStock {
    stock: u32,
}

async fn set_stock(
    State(platform): State<Platform>,
    Path(id): Path<ProductId>,
    headers: HeaderMap,
    Json(NewStock { stock }): Json<NewStock>,
) -> Result<Json<Value>, Problem> {
    authorize(&platform, &headers, "admin_token")?;
    check_stock(stock)?;
    let repository = Repository::open(&platform)?;
    repository.catalogue()?.get(&id).ok_or_else(|| unknown(&id))?;
    repository.set_stock(&id, stock).map_err(|failure| problem(failure, &id))?;
    let stock = repository.stock(&id)?;
    Ok(Json(json!({"product": id, "stock": stock.free, "held": stock.held()})))
}

async fn reserve(
    State(platform): State<Platform>,
    headers: HeaderMap,
    Json(wanted): Json<Reserve>,
) -> Result<Json<Reservation>, Problem> {
    authorize(&platform, &headers, "service_token")?;
    Ok(Json(Repository::open(&platform)?.reserve(&wanted)?))
}

async fn settle(
    State(platform): State<Platform>,
    headers: HeaderMap,
    Json(settlement): Json<Settlement>,
) -> Result<StatusCode, Problem> {
    authorize(&platform, &headers, "service_token")?;
    Repository::open(&platform)?.settle(&settlement)?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stale {
    stale_after: u64,
}

async fn stale(
    State(platform): State<Platform>,
    headers: HeaderMap,
    Query(Stale { stale_after }): Query<Stale>,
) -> Result<Json<HoldPage>, Problem> {
    authorize(&platform, &headers, "service_token")?;
    Ok(Json(Repository::open(&platform)?.stale(stale_after)?))
}

fn unknown(id: &ProductId) -> Problem {
    Problem::not_found(format!("there is no product {id}"))
}

fn check_stock(stock: u32) -> Result<(), Problem> {
    if stock <= MAX_STOCK {
        return Ok(());
    }
    Err(Problem::invalid(format!("stock must be at most {MAX_STOCK}, not {stock}")))
}

fn problem(failure: Failure, id: &ProductId) -> Problem {
    let invalid = match failure {
        Failure::Store(error) => return error.into(),
        Failure::Unchanged | Failure::NotReserved(_) => return Problem::conflict("nothing was changed"),
        Failure::Invalid(invalid) => invalid,
    };
    match invalid {
        InvalidEntry::Text(what, most) => {
            Problem::invalid(format!("{what} must be 1 to {most} characters without control characters"))
        }
        InvalidEntry::Category => Problem::invalid("category must consist of a-z, 0-9 and -"),
        InvalidEntry::Price => Problem::invalid("price: the amount is too large"),
        InvalidEntry::Exists => Problem::conflict(format!("there is a product {id} already")),
        InvalidEntry::Unknown => unknown(id),
        InvalidEntry::Full => {
            Problem::conflict(format!("the catalogue has {MAX_PRODUCTS} products, its most"))
        }
    }
}
