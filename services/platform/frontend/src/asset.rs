//! Files that the page loads, at paths that name their contents.

use std::hash::{DefaultHasher, Hasher as _};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// A file whose path changes with its contents, so that it may be cached for ever.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asset {
    /// The name with its extension.
    name: &'static str,
    content_type: &'static str,
    content: &'static str,
}

impl Asset {
    pub(crate) const fn new(name: &'static str, content_type: &'static str, content: &'static str) -> Self {
        Self { name, content_type, content }
    }

    /// The path, with the contents' hash before the extension.
    pub(crate) fn path(&self) -> String {
        let (stem, extension) = self.name.rsplit_once('.').unwrap_or((self.name, ""));
        format!("/assets/{stem}.{}.{extension}", self.hash())
    }

    /// The response to a `GET` with these headers.
    pub(crate) fn response(&self, headers: &HeaderMap) -> Response {
        let etag = format!("\"{}\"", self.hash());
        let is_known =
            headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
        let mut response = if is_known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, self.content_type)], self.content).into_response()
        };
        let immutable = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, immutable);
        if let Ok(etag) = HeaderValue::try_from(etag) {
            response.headers_mut().insert(header::ETAG, etag);
        }
        response
    }

    /// A hash that is the same wherever the component runs.
    fn hash(&self) -> String {
        let mut hasher = DefaultHasher::new();
        hasher.write(self.content.as_bytes());
        format!("{:016x}", hasher.finish())
    }
}
