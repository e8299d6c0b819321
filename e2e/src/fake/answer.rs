//! What the fake answers when it is told to.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One scripted answer. Without a status it is the truth, perhaps late, slow or broken; with one it is made up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Answer {
    /// The status of a made-up answer.
    pub status: Option<u16>,
    /// Headers set on the answer; each replaces those of its name.
    pub headers: Vec<(String, String)>,
    /// The body of a made-up answer.
    pub body: String,
    /// Milliseconds to wait before the first byte.
    pub delay_ms: u64,
    /// How the bytes go out.
    pub delivery: Delivery,
}

/// How an answer's bytes go out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// With a correct `Content-Length`.
    #[default]
    Sized,
    /// In chunks.
    Chunked,
    /// With a correct `Content-Length`, so many bytes at a time, with a pause after each.
    Drip {
        /// Bytes written at once.
        bytes: usize,
        /// Milliseconds between two writes.
        every_ms: u64,
    },
    /// With this `Content-Length`, whatever the body's length is; then the connection is closed.
    Claim(u64),
    /// So many bytes of the body, then the connection is closed in good order.
    Cut(usize),
    /// So many bytes of the body, then the connection is reset.
    Reset(usize),
    /// A JSON array of this many bytes instead of the body, with a correct `Content-Length`.
    Filler(u64),
    /// A JSON array without an end, in chunks.
    Endless,
    /// These bytes instead of any HTTP, then the connection is closed.
    Raw(String),
    /// The connection is closed without a byte.
    Close,
    /// Nothing, for as long as the client stays.
    Silence,
}

impl Answer {
    /// The truth: what the fake answers by itself.
    #[must_use]
    pub fn truth() -> Self {
        Self::default()
    }

    /// A made-up answer with this status and a JSON body that names it.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self {
            status: Some(status),
            body: format!(r#"{{"message":"Made up: {status}","status":"{status}"}}"#),
            ..Self::default()
        }
    }

    /// A made-up 200 with this body, as JSON.
    #[must_use]
    pub fn json(body: impl Into<String>) -> Self {
        Self { body: body.into(), ..Self::status(200) }
    }

    /// A 403 as GitHub sends it when the hour's requests are used up.
    #[must_use]
    pub fn rate_limited(reset_unix_seconds: u64) -> Self {
        Self::status(403)
            .body(r#"{"message":"API rate limit exceeded for 192.0.2.1. (But here's the good news: Authenticated requests get a higher rate limit.)","documentation_url":"https://docs.github.com/rest/overview/resources-in-the-rest-api#rate-limiting"}"#)
            .header("x-ratelimit-limit", "60")
            .header("x-ratelimit-remaining", "0")
            .header("x-ratelimit-reset", &reset_unix_seconds.to_string())
            .header("x-ratelimit-resource", "core")
    }

    /// A 403 as GitHub sends it against abuse: requests are left, the message alone tells.
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

    /// Waits before the first byte.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self
    }

    /// Sends it this way.
    #[must_use]
    pub fn deliver(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }
}
