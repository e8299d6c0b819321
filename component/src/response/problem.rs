//! The body of an error: FastAPI's `{"detail":…}` or a problem document (RFC 9457).

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::request::violation::Violation;
use crate::response::error::Error;

/// The form of an error's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `{"detail":…}`, the form of FastAPI.
    Detail,
    /// A problem document, for clients that accept its media type (RFC 9457).
    Problem,
}

impl Form {
    /// The media type of the form.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Detail => "application/json",
            Self::Problem => "application/problem+json",
        }
    }
}

/// The body of `error`. A redirect has an empty body.
pub fn body(error: &Error, form: Form) -> Vec<u8> {
    if matches!(error, Error::Redirect { .. }) {
        return Vec::new();
    }
    // Serialising cannot fail: there are only maps with string keys, strings and numbers.
    serde_json::to_vec(&Rendered { error, form }).unwrap_or_default()
}

/// An error that serialises in one of the forms.
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
                // There are no pages that describe the problems, so `type` refers to the status (RFC 9457, 4.2.1).
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

/// The registered reason phrase of each status in the error table (RFC 9110, 15).
pub const fn title(status: u16) -> &'static str {
    match status {
        307 => "Temporary Redirect",
        401 => "Unauthorized",
        404 => "Not Found",
        405 => "Method Not Allowed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Error",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Form, body, title};
    use crate::request::violation::{Parameter, Violation, ViolationKind};
    use crate::response::error::Error;

    fn text(error: &Error, form: Form) -> String {
        String::from_utf8(body(error, form)).unwrap()
    }

    #[test]
    fn bodies_are_fastapis() {
        let violation = Violation::new(Parameter::Page, ViolationKind::TooLow, "0");
        for (error, expected) in [
            (Error::NotFound, r#"{"detail":"Not Found"}"#),
            (Error::MethodNotAllowed { allow: "GET" }, r#"{"detail":"Method Not Allowed"}"#),
            (
                Error::UserNotFound { name: "a\"é\n".to_owned(), max_age: None },
                r#"{"detail":"User 'a\"é\n' not found"}"#,
            ),
            (
                Error::RateLimited { retry_after: 7 },
                r#"{"detail":"GitHub API rate limit exceeded. Please try again later."}"#,
            ),
            (Error::UpstreamTimeout, r#"{"detail":"GitHub API timeout"}"#),
            (Error::UpstreamStatus(503), r#"{"detail":"GitHub error: 503"}"#),
            (Error::UpstreamUnreachable, r#"{"detail":"GitHub is unreachable"}"#),
            (Error::UpstreamInvalid, r#"{"detail":"GitHub sent an invalid response"}"#),
            (
                Error::Invalid(vec![violation]),
                r#"{"detail":[{"type":"greater_than_equal","loc":["query","page"],"msg":"Input should be greater than or equal to 1","input":"0","ctx":{"ge":1}}]}"#,
            ),
            (Error::Redirect { location: "/a".to_owned() }, ""),
        ] {
            assert_eq!(text(&error, Form::Detail), expected);
        }
    }

    #[test]
    fn problems_are_rfc_9457s() {
        let error = Error::UpstreamStatus(500);
        assert_eq!(
            text(&error, Form::Problem),
            r#"{"type":"about:blank","title":"Bad Gateway","status":502,"detail":"GitHub error: 500"}"#
        );
        let error =
            Error::Invalid(vec![Violation::new(Parameter::UseCache, ViolationKind::NoBoolean, "maybe")]);
        let problem: Value = serde_json::from_slice(&body(&error, Form::Problem)).unwrap();
        let detail: Value = serde_json::from_slice(&body(&error, Form::Detail)).unwrap();
        assert_eq!(problem["errors"], detail["detail"]);
        assert_eq!(problem["status"], 422);
    }

    #[test]
    fn every_error_has_a_title_a_header_it_needs_and_a_label_of_its_own() {
        let mut labels = BTreeSet::new();
        for error in Error::samples() {
            let appearance = error.appearance();
            assert_ne!(title(appearance.status), "Error", "{error:?}");
            assert!(!appearance.detail.is_empty(), "{error:?}");
            let header = appearance.header.as_ref().map(|(name, _)| *name);
            let needed = match appearance.status {
                307 => Some("location"),
                401 => Some("www-authenticate"),
                405 => Some("allow"),
                429 => Some("retry-after"),
                _ => None,
            };
            assert_eq!(header, needed, "{error:?}");
            labels.insert(appearance.label);
        }
        // Two samples each of `UserNotFound` and `UpstreamStatus`.
        assert_eq!(labels.len(), Error::samples().len() - 2);
    }

    #[test]
    fn only_a_remembered_absence_may_be_stored() {
        for error in Error::samples() {
            let expected = match error {
                Error::UserNotFound { max_age: Some(60), .. } => "public, max-age=60",
                _ => "no-store",
            };
            assert_eq!(error.appearance().cache_control, expected, "{error:?}");
        }
    }

    #[test]
    fn githubs_422_stays_one() {
        assert_eq!(Error::UpstreamStatus(422).appearance().status, 422);
        for status in [401, 403, 410, 451, 500, 503, 301, 0] {
            assert_eq!(Error::UpstreamStatus(status).appearance().status, 502);
        }
    }

    proptest! {
        #[test]
        fn what_was_asked_comes_back_as_it_was(input: String) {
            let error = Error::Invalid(vec![Violation::new(Parameter::Page, ViolationKind::NoInteger, &input)]);
            let body: Value = serde_json::from_slice(&body(&error, Form::Detail)).unwrap();
            prop_assert_eq!(&body["detail"][0]["input"], &json!(input));
            let error = Error::UserNotFound { name: input.clone(), max_age: None };
            let body: Value = serde_json::from_slice(&super::body(&error, Form::Detail)).unwrap();
            prop_assert_eq!(&body["detail"], &json!(format!("User '{input}' not found")));
        }
    }
}
