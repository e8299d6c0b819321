//! A request, as the cache sees it.

use http::{HeaderMap, Method, header};

use crate::directives::Directives;

/// A request, as the cache sees it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub method: &'a Method,
    /// Whether the component sees the scheme `https`.
    pub https: bool,
    /// The authority that the component sees.
    pub authority: &'a str,
    /// The path and the query.
    pub path: &'a str,
    /// The client's fields, without those of the connection.
    pub headers: &'a HeaderMap,
    /// Whether the host tells the component who the client is, as `Authorization` does: by a verified certificate.
    pub is_authenticated: bool,
    /// Whether the request has a body.
    pub has_body: bool,
}

impl Asked<'_> {
    /// Whether a response to the request may be stored. A client's `no-store` costs nothing, so it always counts
    /// (RFC 9111, 5.2.1.5).
    pub(crate) fn may_store(&self) -> bool {
        !Directives::parse(self.headers.get_all(header::CACHE_CONTROL)).no_store
    }
}
