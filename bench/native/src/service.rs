//! The service's routes, and the way of a request through cache and GitHub.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use moka::sync::Cache;
use serde::Deserialize;

use crate::answer::{Freshness, error, json};
use crate::entry::{Entry, key, now};
use crate::metrics::Metrics;
use crate::request_id::{self, X_REQUEST_ID};
use crate::upstream::{GitHub, UpstreamError};

/// The component's document. Like the component, the service sends it without white space between its tokens.
const OPENAPI: &str = include_str!("../../../component/assets/openapi.json");
const HEALTHY: &[u8] = br#"{"status":"healthy","service":"github-gists-api"}"#;

/// The gists API. Clones share the cache, the client of GitHub and the metrics.
#[derive(Clone)]
pub(crate) struct Gists(Arc<Inner>);

struct Inner {
    cache: Cache<String, Arc<Entry>>,
    github: GitHub,
    metrics: Metrics,
    openapi: Bytes,
    ttl: u64,
}

/// The query parameters.
#[derive(Deserialize)]
#[serde(default)]
struct Parameters {
    page: u8,
    per_page: u8,
    use_cache: bool,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { page: 1, per_page: 30, use_cache: true }
    }
}

impl Gists {
    pub(crate) fn new(github: Uri, ttl: u64, entries: u64) -> Self {
        let cache = Cache::new(entries);
        let document =
            serde_json::from_str::<serde_json::Value>(OPENAPI).map(|document| document.to_string());
        let openapi = document.unwrap_or_default().into();
        Self(Arc::new(Inner {
            cache,
            github: GitHub::new(github),
            metrics: Metrics::default(),
            openapi,
            ttl,
        }))
    }

    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/", get(health))
            .route("/health", get(health))
            .route("/metrics", get(metrics))
            .route("/openapi.json", get(openapi))
            .route("/{username}", get(gists))
            .with_state(self.clone())
    }
}

async fn health(State(Gists(service)): State<Gists>, headers: HeaderMap) -> Response {
    let running = service.metrics.health.start();
    let mut response = json(StatusCode::OK, HEALTHY);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(X_REQUEST_ID, request_id::of(&headers));
    running.end(response.status());
    response
}

async fn openapi(State(Gists(service)): State<Gists>, headers: HeaderMap) -> Response {
    let running = service.metrics.openapi.start();
    let mut response = json(StatusCode::OK, service.openapi.clone());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response.headers_mut().insert(X_REQUEST_ID, request_id::of(&headers));
    running.end(response.status());
    response
}

async fn metrics(State(Gists(service)): State<Gists>) -> String {
    service.metrics.render()
}

async fn gists(
    State(Gists(service)): State<Gists>,
    Path(username): Path<String>,
    Query(parameters): Query<Parameters>,
    headers: HeaderMap,
) -> Response {
    let running = service.metrics.gists.start();
    let mut response = service.answer(&username, &parameters, &headers).await;
    response.headers_mut().insert(X_REQUEST_ID, request_id::of(&headers));
    running.end(response.status());
    response
}

impl Inner {
    async fn answer(&self, username: &str, parameters: &Parameters, headers: &HeaderMap) -> Response {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if username.len() > 39
            || !(1..=100).contains(&parameters.page)
            || !(1..=100).contains(&parameters.per_page)
        {
            return error(StatusCode::UNPROCESSABLE_ENTITY, "out of range");
        }
        if !username.bytes().all(allowed) {
            return error(StatusCode::NOT_FOUND, &format!("User '{username}' not found"));
        }
        let key = key(username, parameters.page, parameters.per_page);
        let now = now();
        let kept = if parameters.use_cache { self.cache.get(&key) } else { None };
        if let Some(entry) = kept.filter(|entry| now < entry.fresh_until) {
            self.metrics.hits.fetch_add(1, Relaxed);
            return self.respond(username, parameters, headers, &entry, true, now);
        }
        self.metrics.misses.fetch_add(1, Relaxed);
        match self.github.page(username, parameters.page, parameters.per_page).await {
            Ok(page) => {
                let entry = Arc::new(Entry::new(page.body, page.has_next, self.ttl));
                self.cache.insert(key, Arc::clone(&entry));
                self.respond(username, parameters, headers, &entry, false, now)
            }
            Err(UpstreamError::Status(StatusCode::NOT_FOUND)) => {
                error(StatusCode::NOT_FOUND, &format!("User '{username}' not found"))
            }
            Err(other) => error(StatusCode::BAD_GATEWAY, &format!("GitHub error: {other:?}")),
        }
    }

    fn respond(
        &self,
        username: &str,
        parameters: &Parameters,
        headers: &HeaderMap,
        entry: &Entry,
        hit: bool,
        now: u64,
    ) -> Response {
        let matches = headers
            .get(header::IF_NONE_MATCH)
            .and_then(|tags| tags.to_str().ok())
            .is_some_and(|tags| tags == "*" || tags.split(',').any(|tag| tag.trim() == entry.etag));
        let mut response = if matches {
            json(StatusCode::NOT_MODIFIED, "")
        } else {
            json(StatusCode::OK, entry.whole(hit, self.ttl))
        };
        Freshness {
            stored_at: entry.stored_at,
            fresh_until: entry.fresh_until,
            now,
            hit,
            etag: &entry.etag,
            link: link(username, parameters, entry.has_next),
        }
        .write(response.headers_mut());
        response
    }
}

/// Returns the value of `Link` (RFC 8288), with relative references.
fn link(username: &str, parameters: &Parameters, has_next: bool) -> String {
    let mut link = String::new();
    let mut add = |page: u8, rel: &str| {
        let separator = if link.is_empty() { "" } else { ", " };
        let per_page = parameters.per_page;
        // Writing to a String cannot fail.
        let _ = write!(link, "{separator}</{username}?page={page}&per_page={per_page}>; rel=\"{rel}\"");
    };
    if has_next && parameters.page < 100 {
        add(parameters.page + 1, "next");
    }
    if parameters.page > 1 {
        add(parameters.page - 1, "prev");
        add(1, "first");
    }
    link
}
