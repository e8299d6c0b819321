//! Responses.

use serde_json::Value;

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// The body without its framing.
    pub body: Vec<u8>,
    /// Whether the body ended as its framing says. Only the methods named `…_partial` return responses that broke off.
    pub complete: bool,
}

impl Response {
    /// The value of a header. Panics if the header occurs twice.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert!(values.next().is_none(), "{name} occurs twice: {:?}", self.headers);
        first
    }

    /// The response itself. Panics if its status is another one.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?} {}", self.headers, String::from_utf8_lossy(&self.body));
        self
    }

    /// The body as text. Panics if it is not UTF-8.
    #[must_use]
    #[expect(clippy::panic, reason = "how a test reports it")]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The body as JSON. Panics if it is none.
    #[must_use]
    #[expect(clippy::panic, reason = "how a test reports it")]
    pub fn json(&self) -> Value {
        self.try_json().unwrap_or_else(|error| panic!("{error}"))
    }

    /// The body as JSON, or the whole response in an error: for a test that waits for an answer, and may see another one first.
    ///
    /// # Errors
    ///
    /// If the body is no JSON.
    pub fn try_json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| {
            format!("{error}: {} {:?} {:?}", self.status, self.headers, String::from_utf8_lossy(&self.body))
        })
    }

    /// Whether the server ends the connection behind this response.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}
