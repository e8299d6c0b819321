//! Scripted responses.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A scripted response. Without a status, it is GitHub's own response with another delay, headers or delivery.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScriptedResponse {
    /// The status; `None` for GitHub's own response.
    pub status: Option<u16>,
    /// Headers. Each replaces those of its name; an empty value removes them.
    pub headers: Vec<(String, String)>,
    /// The body, if there is a status.
    pub body: String,
    /// The delay before the first byte, in milliseconds.
    pub delay_ms: u64,
    /// How the bytes are sent.
    pub delivery: Delivery,
}

/// How a response's bytes are sent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// With a correct `Content-Length`.
    #[default]
    Sized,
    /// In chunks.
    Chunked,
    /// With a correct `Content-Length`, a few bytes at a time, with a pause behind each write.
    Drip {
        /// Bytes of one write.
        bytes: usize,
        /// The pause between two writes, in milliseconds.
        every_ms: u64,
    },
    /// With this `Content-Length`, whatever the body's length is; then the connection closes.
    Claim(u64),
    /// This number of bytes of the body; then the connection closes.
    Cut(usize),
    /// This number of bytes of the body; then the connection is reset.
    Reset(usize),
    /// A JSON array of this many bytes instead of the body, with a correct `Content-Length`.
    Filler(u64),
    /// A JSON array that never ends, in chunks.
    Endless,
    /// These bytes in place of HTTP; then the connection closes.
    Raw(String),
    /// No byte: the connection closes.
    Close,
    /// No byte, for as long as the client waits.
    Silence,
}

impl ScriptedResponse {
    /// GitHub's own response.
    #[must_use]
    pub fn genuine() -> Self {
        Self::default()
    }

    /// A response with this status and a JSON body that names the status.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            body: format!(r#"{{"message":"Scripted: {status}","status":"{status}"}}"#),
            ..Self::default()
        }
    }

    /// A 200 with this body as JSON.
    #[must_use]
    pub fn json(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::status(200) }
    }

    /// The 403 that GitHub sends at the primary rate limit. The reset is in seconds since 1970.
    #[must_use]
    pub fn rate_limited(reset_unix_seconds: u64) -> Self {
        Self::status(403)
            .body(r#"{"message":"API rate limit exceeded for 192.0.2.1. (But here's the good news: Authenticated requests get a higher rate limit.)","documentation_url":"https://docs.github.com/rest/overview/resources-in-the-rest-api#rate-limiting"}"#)
            .header("x-ratelimit-limit", "60")
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", &reset_unix_seconds.to_string())
            .header("x-ratelimit-resource", "core")
    }

    /// The 403 that GitHub sends at a secondary rate limit: requests are left, and only the message tells the limit.
    #[must_use]
    pub fn secondary_limit() -> Self {
        Self::status(403)
            .body(r#"{"documentation_url":"https://docs.github.com/free-pro-team@latest/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits","message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#)
            .header("x-ratelimit-remaining", "4211")
    }

    /// A redirect.
    #[must_use]
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status).header("location", location)
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the delay before the first byte.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Sets how the bytes are sent.
    #[must_use]
    pub fn deliver(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }
}
