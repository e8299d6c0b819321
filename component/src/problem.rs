//! The body of an error: FastAPI's `{"detail":…}`, or an RFC 9457 problem document.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::Error;
use crate::violation::Violation;

/// The two forms of an error's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// FastAPI's.
    Detail,
    /// RFC 9457's.
    Problem,
}

impl Form {
    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Detail => "application/json",
            Self::Problem => "application/problem+json",
        }
    }
}

/// The body of `error`; empty for a redirect, whose `Location` says it all.
pub fn body(error: &Error, form: Form) -> Vec<u8> {
    if matches!(error, Error::Redirect { .. }) {
        return Vec::new();
    }
    // Maps of strings and numbers: there is nothing that serialising could refuse.
    serde_json::to_vec(&Rendered { error, form }).unwrap_or_default()
}

struct Rendered<'e> {
    error: &'e Error,
    form: Form,
}

impl Serialize for Rendered<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let appearance = self.error.appearance();
        let violations = match self.error {
            Error::Invalid(violations) => Some(violations),
            _ => None,
        };
        let mut map = serializer.serialize_map(None)?;
        match (self.form, violations) {
            (Form::Detail, Some(violations)) => map.serialize_entry("detail", violations)?,
            (Form::Detail, None) => map.serialize_entry("detail", &appearance.detail)?,
            (Form::Problem, violations) => {
                // No pages of ours describe the problems, so `type` says that the status does (RFC 9457, 4.2.1).
                map.serialize_entry("type", "about:blank")?;
                map.serialize_entry("title", title(appearance.status))?;
                map.serialize_entry("status", &appearance.status)?;
                map.serialize_entry("detail", &appearance.detail)?;
                if let Some(violations) = violations {
                    map.serialize_entry::<_, Vec<Violation>>("errors", violations)?;
                }
            }
        }
        map.end()
    }
}

/// The registered phrase of each status in the error table.
pub const fn title(status: u16) -> &'static str {
    match status {
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    }
}
