//! Builds responses with the same headers as the component's.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const CACHE_GROUPS: HeaderName = HeaderName::from_static("cache-groups");

/// Returns a JSON response with the headers that every response has.
pub(crate) fn json(status: StatusCode, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.reserve(16);
    for (name, value) in [
        (header::CONTENT_TYPE, "application/json"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns an error in FastAPI's format.
pub(crate) fn error(status: StatusCode, detail: &str) -> Response {
    let body = serde_json::json!({ "detail": detail }).to_string();
    let mut response = json(status, body);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The values of the caching headers (RFC 9111, RFC 9211) and of `Link`. Times are seconds since the epoch.
pub(crate) struct Freshness<'a> {
    pub(crate) stored_at: u64,
    pub(crate) fresh_until: u64,
    pub(crate) now: u64,
    pub(crate) hit: bool,
    pub(crate) etag: &'a str,
    pub(crate) link: String,
}

impl Freshness<'_> {
    pub(crate) fn write(self, headers: &mut HeaderMap) {
        let lifetime = self.fresh_until.saturating_sub(self.stored_at);
        let status = if self.hit {
            format!("gists; hit; ttl={}", self.fresh_until.saturating_sub(self.now))
        } else {
            "gists; fwd=uri-miss; stored".to_owned()
        };
        for (name, value) in [
            (
                header::CACHE_CONTROL,
                format!("public, max-age={lifetime}, stale-while-revalidate=60, stale-if-error=86400"),
            ),
            (header::ETAG, self.etag.to_owned()),
            (header::LINK, self.link),
            (CACHE_STATUS, status),
            (CDN_CACHE_CONTROL, if self.hit { format!("max-age={lifetime}") } else { "no-store".to_owned() }),
        ] {
            if let Ok(value) = HeaderValue::try_from(value)
                && !value.is_empty()
            {
                headers.insert(name, value);
            }
        }
        headers.insert(header::AGE, self.now.saturating_sub(self.stored_at).into());
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        headers.insert(CACHE_GROUPS, HeaderValue::from_static("\"gists\""));
    }
}
