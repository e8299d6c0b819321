//! Chooses the value of `X-Request-Id` as the host does: the client's, if it is valid, or a new one.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer value of the client is replaced.
const MAX_BYTES: usize = 128;

pub(crate) fn of(headers: &HeaderMap) -> HeaderValue {
    let is_valid = |id: &&HeaderValue| {
        (1..=MAX_BYTES).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    headers.get(X_REQUEST_ID).filter(is_valid).cloned().unwrap_or_else(fresh)
}

/// Returns a unique value. It is not secret.
fn fresh() -> HeaderValue {
    let id = fastrand::u128(..);
    HeaderValue::try_from(format!("{id:032x}")).unwrap_or_else(|_| HeaderValue::from_static("0"))
}
