//! The product API and the order API, as the shop uses them.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use shop_model::{CustomerId, NewOrder, Order, OrderId, OrderPage, Product, ProductId, ProductPage};
use web::{Fetched, InvalidSetting, Outgoing, Platform};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The most bytes of a page of products or orders.
const MAX_BODY: usize = 512 * 1024;

/// One of the two APIs.
#[derive(Debug, Clone, Copy)]
enum Service {
    Products,
    Orders,
}

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// There is no such thing.
    NotFound,
    /// The API does not work. For the log, not for visitors.
    Away(String),
}

/// The result of an order.
pub(crate) enum Ordered {
    Confirmed(Order),
    /// There are too few items: the product that is missing, and how many there are.
    Refused {
        product: Option<ProductId>,
        available: u32,
    },
    /// The key was used for another order.
    KeyUsed,
}

/// The members of the order API's problems that the shop shows.
#[derive(Debug, Deserialize)]
struct Refusal {
    /// Only a problem that is the answer to the order has it.
    order: Option<OrderId>,
    product: Option<ProductId>,
    #[serde(default)]
    available: u32,
}

/// Both APIs, asked on behalf of one request.
pub(crate) struct Api<'a> {
    pub(crate) platform: &'a Platform,
    pub(crate) incoming: &'a HeaderMap,
}

impl Api<'_> {
    /// A page of products.
    pub(crate) async fn products(
        &self,
        query: &str,
        category: &str,
        page: u32,
    ) -> Result<ProductPage, Failure> {
        let (query, category) = (escape(query), escape(category));
        let path = format!("/products?q={query}&category={category}&page={page}&per_page=12");
        self.get(Service::Products, &path).await
    }

    pub(crate) async fn product(&self, id: &ProductId) -> Result<Product, Failure> {
        self.get(Service::Products, &format!("/products/{id}")).await
    }

    pub(crate) async fn order(&self, id: &OrderId) -> Result<Order, Failure> {
        self.get(Service::Orders, &format!("/orders/{id}")).await
    }

    /// A page of the customer's orders; `None`: the newest.
    pub(crate) async fn orders(
        &self,
        customer: &CustomerId,
        page: Option<u32>,
    ) -> Result<OrderPage, Failure> {
        let page = page.map(|page| format!("&page={page}")).unwrap_or_default();
        self.get(Service::Orders, &format!("/orders?customer={customer}{page}")).await
    }

    /// Places an order. Repeated with the same key, the order is placed once.
    pub(crate) async fn place(&self, order: &NewOrder, key: &str) -> Result<Ordered, Failure> {
        let away = |error: &dyn std::fmt::Display| Failure::Away(error.to_string());
        let body = serde_json::to_vec(order).map_err(|error| away(&error))?;
        let key = HeaderValue::try_from(format!("\"{key}\"")).map_err(|error| away(&error))?;
        let request = self.request(Service::Orders, Method::POST, "/orders")?.json(body).header(KEY, key);
        let response = self.fetch(request).await?;
        match response.status() {
            StatusCode::CREATED => parse(&response).map(Ordered::Confirmed),
            status => {
                let Refusal { order, product, available } = parse(&response)?;
                match (status, order.is_some()) {
                    (StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY, true) => {
                        Ok(Ordered::Refused { product, available })
                    }
                    (StatusCode::UNPROCESSABLE_ENTITY, false) => Ok(Ordered::KeyUsed),
                    _ => Err(unexpected(&response)),
                }
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, service: Service, path: &str) -> Result<T, Failure> {
        let request = self.request(service, Method::GET, path)?.max_body(MAX_BODY);
        let response = self.fetch(request).await?;
        match response.status() {
            StatusCode::OK => parse(&response),
            StatusCode::NOT_FOUND => Err(Failure::NotFound),
            _ => Err(unexpected(&response)),
        }
    }

    fn request(&self, service: Service, method: Method, path: &str) -> Result<Outgoing, Failure> {
        let [products, orders] = origins(self.platform).map_err(|error| Failure::Away(error.to_string()))?;
        let origin = match service {
            Service::Products => products,
            Service::Orders => orders,
        };
        let url = Uri::try_from(format!("{}{path}", origin.to_string().trim_end_matches('/')))
            .map_err(|error| Failure::Away(format!("{path}: {error}")))?;
        Ok(Outgoing::new(method, url).trace(self.incoming))
    }

    async fn fetch(&self, request: Outgoing) -> Result<Fetched, Failure> {
        let url = request.url.clone();
        self.platform.fetch(request).await.map_err(|error| Failure::Away(format!("{url}: {error}")))
    }
}

/// The addresses of the product API and the order API: by default in the same process.
pub(crate) fn origins(platform: &Platform) -> Result<[Uri; 2], InvalidSetting> {
    Ok([
        platform.origin_or("product_api_url", "http://product-api.spin.internal")?,
        platform.origin_or("order_api_url", "http://order-api.spin.internal")?,
    ])
}

fn parse<T: DeserializeOwned>(response: &Fetched) -> Result<T, Failure> {
    serde_json::from_slice(response.body())
        .map_err(|error| Failure::Away(format!("{}: invalid response: {error}", response.status())))
}

fn unexpected(response: &Fetched) -> Failure {
    let body: String = String::from_utf8_lossy(response.body()).chars().take(200).collect();
    Failure::Away(format!("{}: {body}", response.status()))
}

/// Percent-encodes what is no unreserved character (RFC 3986).
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
