//! Answers that the host makes itself: one table from what went wrong to what a client sees of it.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};

use crate::{service::CallError, telemetry::Rejection};

/// When a client may try again, in seconds: places and instances become free within moments.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Why the host answers in the component's place.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No place for it.
    Overloaded(Rejection),
    /// Its head is not acceptable, and why.
    BadRequest(&'static str),
    /// No trigger of the manifest has a route for its path.
    NotFound,
    /// Its body is announced larger than allowed.
    BodyTooLarge,
    /// A method that only proxies know.
    NotImplemented,
    /// The component did not answer.
    Call(CallError),
}

impl Refusal {
    /// The status that says it.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotImplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Overloaded(_) | Self::Call(CallError::NoInstance) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Call(CallError::TimedOut) => StatusCode::GATEWAY_TIMEOUT,
            Self::Call(CallError::ErrorCode { internal: false, .. }) => StatusCode::BAD_GATEWAY,
            Self::Call(
                CallError::Trapped
                | CallError::Instantiation(_)
                | CallError::ErrorCode { internal: true, .. }
                | CallError::InvalidResponse(_),
            ) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The client and the host may not agree on where the request ends: no other is read after it.
    pub(crate) fn closes(&self) -> bool {
        matches!(self, Self::BadRequest(_) | Self::NotImplemented)
    }

    /// What a trace says of it beyond the status.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        let Self::Call(error) = self else { return None };
        Some(match error {
            CallError::Trapped => "trap",
            CallError::TimedOut => "timeout",
            CallError::NoInstance => "no_instance",
            CallError::Instantiation(_) => "instantiation",
            CallError::ErrorCode { .. } => "component_error",
            CallError::InvalidResponse(_) => "invalid_response",
        })
    }

    /// What is counted of it.
    pub(crate) fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Overloaded(rejection) => Some(*rejection),
            Self::BadRequest(_) | Self::NotImplemented => Some(Rejection::BadRequest),
            Self::BodyTooLarge => Some(Rejection::BodyTooLarge),
            Self::Call(CallError::NoInstance) => Some(Rejection::NoInstance),
            Self::NotFound | Self::Call(_) => None,
        }
    }

    /// The response. What happened inside stays inside: it says no more than its status.
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

    #[test]
    fn each_answer_is_json_and_an_overload_says_when_to_come_back() {
        let cases = [
            (Refusal::Overloaded(Rejection::QueueFull), 503, r#"{"detail":"Service Unavailable"}"#),
            (Refusal::Call(CallError::NoInstance), 503, r#"{"detail":"Service Unavailable"}"#),
            (Refusal::Call(CallError::TimedOut), 504, r#"{"detail":"Gateway Timeout"}"#),
            (Refusal::Call(CallError::Trapped), 500, r#"{"detail":"Internal Server Error"}"#),
            (Refusal::NotFound, 404, r#"{"detail":"Not Found"}"#),
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
