//! Why a request is refused before the cache or GitHub is asked.

use crate::request::violation::Violation;

/// The outcome of a request that does not pass routing or validation. `response::error` says how it is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No route has this path.
    NotFound,
    /// The route does not support the method.
    MethodNotAllowed {
        /// The methods that it supports: the value of `Allow` (RFC 9110, 10.2.1).
        allow: &'static str,
    },
    /// The path of a route has an additional slash at its end.
    Redirect {
        /// A relative reference to the path without that slash; the query is kept.
        location: String,
    },
    /// Parameters are invalid: all violations, in FastAPI's order.
    Invalid(Vec<Violation>),
    /// No GitHub user can have this name.
    NoSuchUser {
        /// The name as the client wrote it, percent-decoded.
        name: String,
    },
}
