//! The routes.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use shop_model::{CustomerId, NewOrder, Order, OrderId, OrderPage};
use web::{Json, Platform, Problem, Query, Secret, Service, authorize};

use crate::placing::{self, Placed};
use crate::products::{ProductApi, URL};
use crate::record::State as OrderState;
use crate::repository::{LEASE, Repository};
use crate::stale;

/// Marks an answer that an earlier request with the same key already got.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The service.
pub fn router(platform: &Platform) -> Router {
    let routes = Router::new()
        .route("/orders", post(create).get(list))
        .route("/orders/{id}", get(one))
        .route("/orders/settlements", post(settle))
        .with_state(platform.clone());
    Service::new("order-api", platform)
        .openapi(include_str!("openapi.json"))
        .ready_if(|platform| {
            platform.setting::<String>("store")?;
            platform.origin_or("product_api_url", URL)?;
            platform.setting_or("order_lease", LEASE)?;
            platform.setting::<Secret>("service_token").map(drop)
        })
        .routes(routes)
}

async fn create(
    State(platform): State<Platform>,
    headers: HeaderMap,
    Json(order): Json<NewOrder>,
) -> Result<Response, Problem> {
    let Placed { record, is_replay } = placing::place(&platform, &headers, &order).await?;
    let mut response = match &record.state {
        OrderState::Refused { reason } => placing::refused(&record.id, reason).into_response(),
        _ => {
            let location = format!("/orders/{}", record.id);
            (StatusCode::CREATED, [(header::LOCATION, location)], Json(record.view())).into_response()
        }
    };
    if is_replay {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

async fn one(State(platform): State<Platform>, Path(id): Path<OrderId>) -> Result<Json<Order>, Problem> {
    let record = Repository::open(&platform)?.get(&id)?;
    let record = record.ok_or_else(|| Problem::not_found(format!("there is no order {id}")))?;
    Ok(Json(record.view()))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Listing {
    customer: CustomerId,
    page: Option<u32>,
}

async fn list(
    State(platform): State<Platform>,
    Query(Listing { customer, page }): Query<Listing>,
) -> Result<Json<OrderPage>, Problem> {
    let (records, next) = Repository::open(&platform)?.page(&customer, page)?;
    let data = records.iter().map(crate::record::Record::view).collect();
    Ok(Json(OrderPage { data, next }))
}

/// Ends stale holds of all products. Call it from time to time. Concurrent calls do no harm.
async fn settle(State(platform): State<Platform>, headers: HeaderMap) -> Result<Json<Value>, Problem> {
    authorize(&platform, &headers, "service_token")?;
    let orders = Repository::open(&platform)?;
    let api = ProductApi::of(&platform, &headers)?;
    let holds = api.stale(orders.lease).await?;
    let mut settled = 0;
    for hold in &holds.data {
        settled += u32::from(stale::end(&orders, &api, hold).await?);
    }
    Ok(Json(json!({"settled": settled, "open": holds.data.len(), "more": holds.more})))
}
