//! A valid request for a page of gists, as its target states it.

use crate::request::query::{self, GistQuery};
use crate::request::rejection::Rejection;
use crate::request::route::Endpoint;
use crate::request::username::Username;

/// What a target says, validated. Equal targets have equal values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageTarget {
    /// The route that the client used.
    pub endpoint: Endpoint,
    /// The user whose gists are on the page.
    pub username: Username,
    /// The name in lower case, as keys contain it.
    pub user: String,
    /// The parameters of the query.
    pub query: GistQuery,
    /// The query as the client sent it.
    pub raw_query: String,
}

impl PageTarget {
    /// The target of a request to `endpoint` with a percent-decoded `name` and a raw query.
    ///
    /// # Errors
    /// As [`query::validate`].
    pub fn new(endpoint: Endpoint, name: &str, raw_query: &str) -> Result<Self, Rejection> {
        let (username, query) = query::validate(name, raw_query)?;
        let user = username.key();
        Ok(Self { endpoint, username, user, query, raw_query: raw_query.to_owned() })
    }
}
