//! Responses that the host makes itself, and the mapping from a failure to its response.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use wasi_http_host_runtime::{Rejection, Unserved};

/// Value of `Retry-After` in seconds. Permits and instances become free within moments.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The reason why the host responds in the component's place.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The request's head is invalid, for this reason.
    BadRequest(&'static str),
    /// No trigger in the manifest has a route for the path.
    NotFound,
    /// The request announces a body larger than the limit.
    BodyTooLarge,
    /// The request has passed through this host too often (RFC 8586).
    LoopDetected,
    /// The method is only for proxies, or the transfer coding is not supported.
    NotImplemented,
    /// The client wants a stored response, and there is none (RFC 9111, 5.2.1.7).
    NotCached,
    /// The component got no request, or gave no valid response.
    Unserved(Unserved),
}

impl From<Unserved> for Refusal {
    fn from(unserved: Unserved) -> Self {
        Self::Unserved(unserved)
    }
}

impl Refusal {
    /// Returns the status of the response.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::LoopDetected => StatusCode::LOOP_DETECTED,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::NotCached => StatusCode::GATEWAY_TIMEOUT,
            Self::Unserved(unserved) => unserved.status(),
        }
    }

    /// Whether the host must close the connection. The client and the host may disagree on where the request ends,
    /// so the host reads no further request.
    pub(crate) fn closes(&self) -> bool {
        matches!(self, Self::BadRequest(_) | Self::NotImplemented)
    }

    /// Returns the span's `error.type`, if it says more than the status.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        match self {
            Self::Unserved(unserved) => unserved.kind(),
            _ => None,
        }
    }

    /// Returns the reason under which metrics count the refusal.
    pub(crate) fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::BadRequest(_) | Self::NotImplemented => Some(Rejection::BadRequest),
            Self::BodyTooLarge => Some(Rejection::BodyTooLarge),
            Self::NotFound | Self::LoopDetected | Self::NotCached => None,
            Self::Unserved(unserved) => unserved.rejection(),
        }
    }

    /// Creates the response. Except for an invalid head, the body has no detail beyond the status, so that clients
    /// learn nothing about the host's inside.
    pub(crate) fn response(&self) -> Response<Bytes> {
        let status = self.status();
        let detail = match self {
            Self::BadRequest(detail) => detail,
            _ => status.canonical_reason().unwrap_or("Error"),
        };
        let mut response = Response::new(Bytes::from(format!("{{\"detail\":\"{detail}\"}}")));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasi_http_host_runtime::CallError;

    #[test]
    fn each_answer_is_json_and_an_overload_says_when_to_come_back() {
        let cases = [
            (Unserved::Overloaded(Rejection::QueueFull).into(), 503, r#"{"detail":"Service Unavailable"}"#),
            (Unserved::Call(CallError::NoInstance).into(), 503, r#"{"detail":"Service Unavailable"}"#),
            (Unserved::Call(CallError::TimedOut).into(), 504, r#"{"detail":"Gateway Timeout"}"#),
            (Unserved::Call(CallError::Trapped).into(), 500, r#"{"detail":"Internal Server Error"}"#),
            (Refusal::NotFound, 404, r#"{"detail":"Not Found"}"#),
            (Refusal::LoopDetected, 508, r#"{"detail":"Loop Detected"}"#),
            (Refusal::BodyTooLarge, 413, r#"{"detail":"Payload Too Large"}"#),
            (Refusal::BadRequest("No Host"), 400, r#"{"detail":"No Host"}"#),
        ];
        for (refusal, status, body) in cases {
            let response = refusal.response();
            assert_eq!((response.status().as_u16(), &response.body()[..]), (status, body.as_bytes()));
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), status == 503);
        }
    }
}
