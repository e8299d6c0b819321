//! Every outcome that is not a 200 or a 304, and the one table of what it looks like.

use std::borrow::Cow;

use crate::ports::Level;
use crate::request::violation::Violation;

/// An outcome that is not a 200 or a 304.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// No such route.
    NotFound,
    /// The route does not answer that method.
    MethodNotAllowed {
        /// The methods that it does answer.
        allow: &'static str,
    },
    /// The path has a slash too many.
    Redirect {
        /// A relative reference to the path without it.
        location: String,
    },
    /// The request's parameters are invalid.
    Invalid(Vec<Violation>),
    /// GitHub has no such user, or no user can have that name.
    UserNotFound {
        /// The name as asked.
        name: String,
        /// For how many seconds the answer is remembered; `None` if it is not.
        max_age: Option<u32>,
    },
    /// `DELETE /cache` without the administrator's token.
    Unauthorized,
    /// GitHub's rate limit is reached, or the gate is closed because it was.
    RateLimited {
        /// Seconds until the gate opens.
        retry_after: u32,
    },
    /// GitHub did not answer in time.
    UpstreamTimeout,
    /// GitHub answered with that status, which has no meaning of its own here.
    UpstreamStatus(u16),
    /// No connection to GitHub.
    UpstreamUnreachable,
    /// GitHub's answer is not what it should be.
    UpstreamInvalid,
    /// The store that the answer lies in fails.
    StoreUnavailable,
    /// A setting is invalid.
    Misconfigured {
        /// Names the setting; holds no secret.
        reason: String,
    },
}

/// What an [`Error`] looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appearance<'e> {
    /// The status code.
    pub status: u16,
    /// The body's `detail`; of a 422, its `detail` in a problem document.
    pub detail: Cow<'e, str>,
    /// `Cache-Control`.
    pub cache_control: Cow<'static, str>,
    /// One more header that belongs to the outcome.
    pub header: Option<(&'static str, Cow<'e, str>)>,
    /// How it is logged; `None` is a client's affair that would only flood the log.
    pub level: Option<Level>,
    /// Its name in metrics and logs: one of a closed set.
    pub label: &'static str,
}

const WARN: Option<Level> = Some(Level::Warn);
const ERROR: Option<Level> = Some(Level::Error);

impl Error {
    /// The table.
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
    /// One of each. The match below fails to compile when a variant is new, to have it added here.
    pub(crate) fn samples() -> Vec<Self> {
        use crate::request::violation::{Kind, Parameter};

        let violation = |kind| Violation::new(Parameter::Page, kind, "0");
        let samples = vec![
            Self::NotFound,
            Self::MethodNotAllowed { allow: "GET, HEAD" },
            Self::Redirect { location: "/octocat".to_owned() },
            Self::Invalid(Kind::ALL.map(violation).to_vec()),
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
