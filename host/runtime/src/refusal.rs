//! Why a component did not serve a request, for the client, the trace and the metrics.

use http::StatusCode;

use super::{CallError, Rejection};

/// A request that gets no response from its component.
#[derive(Debug)]
pub enum Unserved {
    /// The request was not admitted.
    Overloaded(Rejection),
    /// The component returned no response that can be sent.
    Call(CallError),
}

impl Unserved {
    /// The status code of the host's response to the client.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
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

    /// The span's `error.type`. `None` if the request was not admitted, because the status code says enough.
    #[must_use]
    pub fn kind(&self) -> Option<&'static str> {
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

    /// The counter of rejected requests to increment. `None` if the request reached the component.
    #[must_use]
    pub fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Overloaded(rejection) => Some(*rejection),
            Self::Call(CallError::NoInstance) => Some(Rejection::NoInstance),
            Self::Call(_) => None,
        }
    }
}
