//! Requests and responses.

use std::fmt::Write as _;

use serde_json::Value;

use crate::fail;

/// Headers that are read at most.
const MAX_HEADERS: usize = 100;

/// A request that is being put together.
#[derive(Debug, Clone)]
pub struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Request {
    /// A request without headers of its own.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new() }
    }

    /// `GET` of this path and query.
    #[must_use]
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let _ = write!(head, "host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }
}

impl Response {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| fail(format!("{error}: {}", self.text())))
    }

    /// The same, where its status must be this one.
    ///
    /// # Panics
    /// When it is another, with the body.
    #[track_caller]
    #[must_use]
    pub fn is(self, status: u16) -> Self {
        if self.status != status {
            fail(format!("{} where {status} was expected: {}", self.status, self.text()));
        }
        self
    }

    /// Reads the head at the front of `bytes`, and gives its length with it; `None` while it is not complete.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, String> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut headers);
        let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(|error| error.to_string())?
        else {
            return Ok(None);
        };
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let headers =
            parsed.headers.iter().map(|header| (header.name.to_ascii_lowercase(), text(header.value)));
        let response =
            Self { status: parsed.code.unwrap_or_default(), headers: headers.collect(), body: Vec::new() };
        Ok(Some((response, length)))
    }
}
