//! Why a request was not served by its component, as a client, a trace and the metrics are told.

use http::StatusCode;

use super::{CallError, Rejection};

/// A request that has no response of its component's.
#[derive(Debug)]
pub enum Unserved {
    /// It was not admitted.
    Overloaded(Rejection),
    /// The component gave no answer that can be sent.
    Call(CallError),
}

impl Unserved {
    /// The status that a client is answered with.
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

    /// What a trace says of it beyond the status: its `error.type`.
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

    /// What is counted of it.
    #[must_use]
    pub fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Overloaded(rejection) => Some(*rejection),
            Self::Call(CallError::NoInstance) => Some(Rejection::NoInstance),
            Self::Call(_) => None,
        }
    }
}
