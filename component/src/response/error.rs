//! All outcomes that are neither 200 nor 304, and the table of their status, text, headers and log level.

use std::borrow::Cow;

use crate::ports::Level;
use crate::request::rejection::Rejection;
use crate::request::violation::Violation;
use crate::response::conditional::CacheStatus;

/// An outcome that is neither 200 nor 304.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No route has the path: 404.
    NotFound,
    /// The route does not support the method: 405.
    MethodNotAllowed {
        /// The methods that it supports: the value of `Allow`.
        allow: &'static str,
    },
    /// The path of a route has an additional slash at its end.
    Redirect {
        /// A relative reference to the path without that slash: the value of `Location`.
        location: String,
    },
    /// Parameters are invalid, each with its violation: 422.
    Invalid(Vec<Violation>),
    /// GitHub knows no such user, or no user can have the name.
    UserNotFound {
        /// The name in the client's case.
        name: String,
        /// How many seconds the answer is remembered; `None` if it is not.
        max_age: Option<u32>,
    },
    /// `DELETE /cache` without the administrator's token.
    Unauthorized,
    /// GitHub's rate limit is reached, or the rate-limit gate is closed.
    RateLimited {
        /// Seconds until the gate opens: the value of `Retry-After`.
        retry_after: u32,
    },
    /// GitHub did not answer within `upstream_timeout`.
    UpstreamTimeout,
    /// GitHub answered with this status, which has no outcome of its own.
    UpstreamStatus(u16),
    /// There is no connection to GitHub.
    UpstreamUnreachable,
    /// GitHub's answer is not a list of gists.
    UpstreamInvalid,
    /// The store that the answer is in fails.
    StoreUnavailable,
    /// A setting is invalid, so the service answers no requests for gists.
    Misconfigured {
        /// The setting and what it must be. Contains no secret.
        reason: String,
    },
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::NotFound => Self::NotFound,
            Rejection::MethodNotAllowed { allow } => Self::MethodNotAllowed { allow },
            Rejection::Redirect { location } => Self::Redirect { location },
            Rejection::Invalid(violations) => Self::Invalid(violations),
            Rejection::NoSuchUser { name } => Self::UserNotFound { name, max_age: None },
        }
    }
}

/// An error, and how the cache handled the request.
#[derive(Debug)]
pub struct Refusal {
    /// The error that the client gets.
    pub error: Error,
    /// The value of `Cache-Status`; `None` if the cache was not asked.
    pub cache_status: Option<CacheStatus>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, cache_status: None }
    }
}

/// What an [`Error`] looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appearance<'e> {
    /// The status code of the response.
    pub status: u16,
    /// `detail` in the body. A 422 has it only in a problem document; otherwise its `detail` is the violations.
    pub detail: Cow<'e, str>,
    /// The value of `Cache-Control`: `no-store`, except for a remembered 404.
    pub cache_control: Cow<'static, str>,
    /// A header that this outcome requires.
    pub header: Option<(&'static str, Cow<'e, str>)>,
    /// The level of the log line; `None` if there is none, because clients could flood the log.
    pub level: Option<Level>,
    /// The error's name in logs: one of a closed set.
    pub label: &'static str,
}

const WARN: Option<Level> = Some(Level::Warn);
const ERROR: Option<Level> = Some(Level::Error);

impl Error {
    /// The row of the table for this error.
    pub fn appearance(&self) -> Appearance<'_> {
        let plain = |status, detail: &'static str, level, label| Appearance {
            status,
            detail: Cow::Borrowed(detail),
            cache_control: Cow::Borrowed("no-store"),
            header: None,
            level,
            label,
        };
        match self {
            Self::NotFound => plain(404, "Not Found", None, "not_found"),
            Self::MethodNotAllowed { allow } => Appearance {
                header: Some(("allow", Cow::Borrowed(allow))),
                ..plain(405, "Method Not Allowed", None, "method_not_allowed")
            },
            Self::Redirect { location } => Appearance {
                header: Some(("location", Cow::Borrowed(location))),
                ..plain(307, "Temporary Redirect", None, "redirect")
            },
            Self::Invalid(_) => plain(422, "The request's parameters are invalid", None, "invalid"),
            Self::UserNotFound { name, max_age } => Appearance {
                detail: Cow::Owned(format!("User '{name}' not found")),
                cache_control: match max_age {
                    Some(seconds) => Cow::Owned(format!("public, max-age={seconds}")),
                    None => Cow::Borrowed("no-store"),
                },
                ..plain(404, "", None, "user_not_found")
            },
            Self::Unauthorized => Appearance {
                header: Some(("www-authenticate", Cow::Borrowed("Bearer"))),
                ..plain(401, "Not authenticated", WARN, "unauthorized")
            },
            Self::RateLimited { retry_after } => Appearance {
                header: Some(("retry-after", Cow::Owned(retry_after.to_string()))),
                ..plain(429, "GitHub API rate limit exceeded. Please try again later.", WARN, "rate_limited")
            },
            Self::UpstreamTimeout => plain(504, "GitHub API timeout", WARN, "upstream_timeout"),
            Self::UpstreamStatus(status) => Appearance {
                detail: Cow::Owned(format!("GitHub error: {status}")),
                ..plain(if *status == 422 { 422 } else { 502 }, "", WARN, "upstream_status")
            },
            Self::UpstreamUnreachable => plain(502, "GitHub is unreachable", WARN, "upstream_unreachable"),
            Self::UpstreamInvalid => plain(502, "GitHub sent an invalid response", WARN, "upstream_invalid"),
            Self::StoreUnavailable => {
                plain(503, "The service's store is unavailable", ERROR, "store_unavailable")
            }
            Self::Misconfigured { reason } => Appearance {
                detail: Cow::Owned(format!("Service is misconfigured: {reason}")),
                ..plain(503, "", ERROR, "misconfigured")
            },
        }
    }
}

#[cfg(test)]
impl Error {
    /// A sample of each variant. The match below does not compile if a new variant is not added to it.
    pub(crate) fn samples() -> Vec<Self> {
        use crate::request::violation::{Parameter, ViolationKind};

        let violation = |kind| Violation::new(Parameter::Page, kind, "0");
        let samples = vec![
            Self::NotFound,
            Self::MethodNotAllowed { allow: "GET, HEAD" },
            Self::Redirect { location: "/octocat".to_owned() },
            Self::Invalid(ViolationKind::ALL.map(violation).to_vec()),
            Self::UserNotFound { name: "x".to_owned(), max_age: None },
            Self::UserNotFound { name: "x".to_owned(), max_age: Some(60) },
            Self::Unauthorized,
            Self::RateLimited { retry_after: 30 },
            Self::UpstreamTimeout,
            Self::UpstreamStatus(422),
            Self::UpstreamStatus(500),
            Self::UpstreamUnreachable,
            Self::UpstreamInvalid,
            Self::StoreUnavailable,
            Self::Misconfigured { reason: "setting 'cache_ttl' must be a number".to_owned() },
        ];
        for sample in &samples {
            match sample {
                Self::NotFound
                | Self::MethodNotAllowed { .. }
                | Self::Redirect { .. }
                | Self::Invalid(_)
                | Self::UserNotFound { .. }
                | Self::Unauthorized
                | Self::RateLimited { .. }
                | Self::UpstreamTimeout
                | Self::UpstreamStatus(_)
                | Self::UpstreamUnreachable
                | Self::UpstreamInvalid
                | Self::StoreUnavailable
                | Self::Misconfigured { .. } => {}
            }
        }
        samples
    }
}
