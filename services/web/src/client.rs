//! Requests to other services.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::problem::Problem;

/// How long an exchange may take if the request does not say.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The most bytes of a response's body if the request does not say.
const MAX_BODY: usize = 64 * 1024;
/// The headers of a trace, which a service passes on (W3C Trace Context).
const TRACE_HEADERS: [HeaderName; 2] =
    [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// A response of any status, with its whole body.
pub type Fetched = http::Response<Bytes>;

/// A request to another service, and its limits.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The method.
    pub method: Method,
    /// The URL: scheme, host and path.
    pub url: Uri,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// How long the whole exchange may take.
    pub timeout: Duration,
    /// The most bytes of the response's body.
    pub max_body: usize,
}

impl Outgoing {
    /// A request without headers and body, with 5 s for the exchange and 64 KiB for the response's body.
    #[must_use]
    pub fn new(method: Method, url: Uri) -> Self {
        let (headers, body) = (HeaderMap::new(), Bytes::new());
        Self { method, url, headers, body, timeout: TIMEOUT, max_body: MAX_BODY }
    }

    /// A `GET`.
    #[must_use]
    pub fn get(url: Uri) -> Self {
        Self::new(Method::GET, url)
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// With a body of JSON.
    #[must_use]
    pub fn json(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.header(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
    }

    /// As a part of the trace of the request with the headers `incoming`.
    #[must_use]
    pub fn trace(mut self, incoming: &HeaderMap) -> Self {
        for name in TRACE_HEADERS {
            if let Some(value) = incoming.get(&name) {
                self.headers.insert(name, value.clone());
            }
        }
        self
    }

    /// With another time limit.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// With another limit of the response's body, in bytes.
    #[must_use]
    pub fn max_body(mut self, limit: usize) -> Self {
        self.max_body = limit;
        self
    }
}

/// The URL of `path`, which begins with a slash, below `base`; `None` if that is no URL.
#[must_use]
pub fn join(base: &Uri, path: &str) -> Option<Uri> {
    let mut parts = base.clone().into_parts();
    let prefix = base.path().trim_end_matches('/');
    parts.path_and_query = Some(format!("{prefix}{path}").parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// Why there is no response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// The exchange took longer than the request's limit, or than one of the system's.
    Timeout,
    /// The response's body is longer than the request's limit.
    BodyTooLarge,
    /// No connection: refused, name not found, or not allowed.
    Connect(String),
    /// The response is not valid, or it ended early.
    Protocol(String),
}

impl FetchError {
    /// The error as a problem: 504 for a timeout, 502 for the rest. `service` is the name of the service that did not answer.
    #[must_use]
    pub fn problem(&self, service: &str) -> Problem {
        let status = match self {
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::BAD_GATEWAY,
        };
        Problem::new(status, format!("{service}: {self}")).member("upstream", service)
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no response in time"),
            Self::BodyTooLarge => f.write_str("the response's body is too large"),
            Self::Connect(reason) => write!(f, "no connection: {reason}"),
            Self::Protocol(reason) => write!(f, "invalid response: {reason}"),
        }
    }
}

impl std::error::Error for FetchError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_put_below_the_base() {
        for (base, path, expected) in [
            ("http://a", "/b?c=d", Some("http://a/b?c=d")),
            ("https://a:1/p/", "/b", Some("https://a:1/p/b")),
            ("http://a/p?q", "/b", Some("http://a/p/b")),
            ("http://a", "/b c", None),
        ] {
            let joined = join(&base.parse().unwrap(), path).map(|url| url.to_string());
            assert_eq!(joined.as_deref(), expected, "{base} {path}");
        }
    }
}
