//! A client of GitHub, without redirects and retries: the benchmark fills the cache with it.

use axum::http::{Request, StatusCode, Uri, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::{Deserialize, Serialize};

/// A page of gists, in the format of the response.
pub(crate) struct Page {
    /// The JSON object without its last member, `cache`, and without the closing brace.
    pub(crate) body: Bytes,
    pub(crate) has_next: bool,
}

/// Why GitHub gave no page.
#[derive(Debug)]
pub(crate) enum UpstreamError {
    Status(StatusCode),
    Unreachable,
    Invalid,
}

/// A gist, as GitHub sends it and as the service responds with it.
#[derive(Deserialize, Serialize)]
struct Gist {
    id: String,
    description: Option<String>,
    #[serde(rename(deserialize = "html_url"))]
    url: String,
    created_at: String,
    #[serde(skip_serializing, default)]
    public: bool,
    files: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct Document<'a> {
    data: &'a [Gist],
    pagination: Pagination,
}

#[derive(Serialize)]
struct Pagination {
    page: u8,
    per_page: u8,
    count: usize,
    has_next: bool,
    has_prev: bool,
}

/// A client of GitHub. Clones share its connections.
#[derive(Clone)]
pub(crate) struct GitHub {
    base: Uri,
    client: Client<HttpConnector, Empty<Bytes>>,
}

impl GitHub {
    pub(crate) fn new(base: Uri) -> Self {
        Self { base, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    pub(crate) async fn page(&self, username: &str, page: u8, per_page: u8) -> Result<Page, UpstreamError> {
        let base = self.base.to_string();
        let uri =
            format!("{}/users/{username}/gists?page={page}&per_page={per_page}", base.trim_end_matches('/'));
        let request = Request::get(uri)
            .header(header::ACCEPT, "application/vnd.github+json")
            .header(header::USER_AGENT, "bench-native")
            .body(Empty::new())
            .map_err(|_| UpstreamError::Invalid)?;
        let response = self.client.request(request).await.map_err(|_| UpstreamError::Unreachable)?;
        if response.status() != StatusCode::OK {
            return Err(UpstreamError::Status(response.status()));
        }
        let link = response.headers().get(header::LINK).and_then(|link| link.to_str().ok()).unwrap_or("");
        let (has_next, has_prev) = (link.contains("rel=\"next\""), link.contains("rel=\"prev\""));
        let body = response.into_body().collect().await.map_err(|_| UpstreamError::Unreachable)?.to_bytes();
        let mut gists: Vec<Gist> = serde_json::from_slice(&body).map_err(|_| UpstreamError::Invalid)?;
        gists.retain(|gist| gist.public);
        let pagination = Pagination { page, per_page, count: gists.len(), has_next, has_prev };
        let mut body =
            serde_json::to_vec(&Document { data: &gists, pagination }).map_err(|_| UpstreamError::Invalid)?;
        body.pop(); // the closing brace, so that `cache` can follow
        Ok(Page { body: body.into(), has_next })
    }
}
