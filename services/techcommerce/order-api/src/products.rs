//! The product API, as the order API uses it.

use axum::http::{HeaderMap, HeaderValue, Method, Uri, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use shop_model::{HoldPage, Reservation, Reserve, Settlement};
use web::{Fetched, Outgoing, Platform, Problem, Secret};

const NAME: &str = "product-api";
pub(crate) const URL: &str = "http://product-api.spin.internal";

/// The product API, asked on behalf of one request.
pub(crate) struct ProductApi<'a> {
    platform: &'a Platform,
    /// Without a slash at its end.
    url: String,
    authorization: HeaderValue,
    /// The headers of the request, for its trace.
    incoming: &'a HeaderMap,
}

impl<'a> ProductApi<'a> {
    /// # Errors
    /// The settings lack the product API's address or the token.
    pub(crate) fn of(platform: &'a Platform, incoming: &'a HeaderMap) -> Result<Self, Problem> {
        let url = platform.origin_or("product_api_url", URL)?.to_string();
        let token: Option<Secret> = platform.setting("service_token")?;
        let token = token.ok_or_else(|| {
            Problem::unavailable("setting service_token is not set: without it, nothing can be ordered")
        })?;
        let mut authorization =
            HeaderValue::try_from(format!("Bearer {}", token.reveal())).map_err(|_| {
                Problem::unavailable("setting service_token has characters that no header can have")
            })?;
        authorization.set_sensitive(true);
        Ok(Self { platform, url: url.trim_end_matches('/').to_owned(), authorization, incoming })
    }

    pub(crate) async fn reserve(&self, wanted: &Reserve) -> Result<Reservation, Problem> {
        parse(&self.send(Method::POST, "/reservations", Some(wanted)).await?)
    }

    pub(crate) async fn settle(&self, settlement: &Settlement) -> Result<(), Problem> {
        self.send(Method::POST, "/reservations/settlements", Some(settlement)).await.map(drop)
    }

    /// Holds that are older than so many milliseconds.
    pub(crate) async fn stale(&self, stale_after: u64) -> Result<HoldPage, Problem> {
        let path = format!("/reservations?stale_after={stale_after}");
        parse(&self.send(Method::GET, &path, None::<&()>).await?)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<Fetched, Problem> {
        let url = Uri::try_from(format!("{}{path}", self.url))
            .map_err(|error| Problem::unavailable(format!("setting product_api_url: {error}")))?;
        let mut request = Outgoing::new(method, url).trace(self.incoming);
        request = request.header(header::AUTHORIZATION, self.authorization.clone());
        if let Some(body) = body {
            let body = serde_json::to_vec(body).map_err(|error| Problem::unavailable(error.to_string()))?;
            request = request.json(body);
        }
        let response = self.platform.fetch(request).await.map_err(|error| error.problem(NAME))?;
        if response.status().is_success() {
            return Ok(response);
        }
        Err(Problem::unavailable(format!("{NAME} answered {}", response.status())).member("upstream", NAME))
    }
}

fn parse<T: DeserializeOwned>(response: &Fetched) -> Result<T, Problem> {
    serde_json::from_slice(response.body()).map_err(|error| {
        Problem::unavailable(format!("{NAME}: invalid response: {error}")).member("upstream", NAME)
    })
}
