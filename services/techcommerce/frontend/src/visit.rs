//! What the shop reads from a request: the cookies, and the encodings that the answer may have.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use shop_model::CustomerId;
use web::Platform;

use crate::basket::Basket;

const BASKET: &str = "basket";
const CUSTOMER: &str = "customer";
/// A year, in seconds.
const YEAR: u32 = 365 * 24 * 3600;

/// One request of a visitor.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) basket: Basket,
    customer: Option<CustomerId>,
    pub(crate) headers: HeaderMap,
    is_https: bool,
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let headers = parts.headers.clone();
        let forwarded = headers.get("x-forwarded-proto").is_some_and(|scheme| scheme == "https");
        Ok(Self {
            basket: cookie(&headers, BASKET).map(Basket::parse).unwrap_or_default(),
            customer: cookie(&headers, CUSTOMER).and_then(|value| value.parse().ok()),
            is_https: forwarded || parts.uri.scheme_str() == Some("https"),
            headers,
        })
    }
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

impl Visit {
    /// The customer, if the visitor has come to an order form before.
    pub(crate) fn customer(&self) -> Option<&CustomerId> {
        self.customer.as_ref()
    }

    /// The customer, a new one if there is none: a random ID that nobody can guess.
    pub(crate) fn customer_or_new(&self, platform: &Platform) -> Option<CustomerId> {
        self.customer.clone().or_else(|| token(platform).parse().ok())
    }

    /// The response, which also keeps the basket.
    pub(crate) fn keep_basket(&self, basket: &Basket, response: Response) -> Response {
        let age = if basket.is_empty() { 0 } else { YEAR };
        self.keep(BASKET, &basket.to_value(), age, response)
    }

    /// The response, which also keeps the customer's ID.
    pub(crate) fn keep_customer(&self, customer: &CustomerId, response: Response) -> Response {
        self.keep(CUSTOMER, customer.as_str(), YEAR, response)
    }

    fn keep(&self, name: &str, value: &str, age: u32, mut response: Response) -> Response {
        let secure = if self.is_https { "; Secure" } else { "" };
        let cookie = format!("{name}={value}; Path=/; Max-Age={age}; HttpOnly; SameSite=Lax{secure}");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
        response
    }
}

/// 128 random bits in hexadecimal form.
pub(crate) fn token(platform: &Platform) -> String {
    format!("{:016x}{:016x}", platform.random(), platform.random())
}
