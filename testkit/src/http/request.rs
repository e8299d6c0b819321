//! Requests.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;

use super::connection::Connection;
use super::response::Response;
use crate::wait::DEADLINE;

/// A request that is not bound to an address.
#[derive(Debug, Clone)]
#[must_use]
pub struct Request {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A request and the address of its server.
#[derive(Debug, Clone)]
#[must_use]
pub struct BoundRequest {
    address: SocketAddr,
    request: Request,
}

impl Request {
    /// A request without headers and body. The target is sent as it is.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    /// `GET` of this target.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the body, which is sent with a `Content-Length`.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Binds the request to a server.
    pub fn to(self, address: SocketAddr) -> BoundRequest {
        BoundRequest { address, request: self }
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The target as it is sent.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The headers in their order.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The request as HTTP/1.1. `host` is the `Host` unless the request has one of its own.
    #[must_use]
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        // Writing to a string cannot fail.
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let _ = write!(head, "host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !self.body.is_empty() {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }
}

impl BoundRequest {
    /// See [`Request::header`].
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// See [`Request::body`].
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.request = self.request.body(body);
        self
    }

    /// The request as HTTP/1.1, with the address as the `Host`.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.request.bytes(&self.address.to_string())
    }

    /// Sends the request on a new connection and reads the whole response. Panics if none comes within [`DEADLINE`].
    #[expect(clippy::panic, reason = "how a test reports a missing response")]
    pub async fn send(self) -> Response {
        self.try_send().await.unwrap_or_else(|error| {
            panic!("{} {} at {}: {error}", self.request.method, self.request.target, self.address)
        })
    }

    /// As [`BoundRequest::send`].
    ///
    /// # Errors
    /// If there is no whole response within [`DEADLINE`].
    pub async fn try_send(&self) -> io::Result<Response> {
        let sending = async {
            let mut connection = self.start().await?;
            connection.response_to(&self.request.method).await
        };
        tokio::time::timeout(DEADLINE, sending).await?
    }

    /// As [`BoundRequest::send`], for a response that may break off behind its head: see [`Response::complete`].
    #[expect(clippy::panic, reason = "how a test reports a missing response")]
    pub async fn send_partial(self) -> Response {
        let sending = async {
            let mut connection = self.start().await?;
            connection.response_to_partial(&self.request.method).await
        };
        let sent = tokio::time::timeout(DEADLINE, sending).await.unwrap_or_else(|late| Err(late.into()));
        sent.unwrap_or_else(|error| {
            panic!("{} {} at {}: {error}", self.request.method, self.request.target, self.address)
        })
    }

    /// Sends the request on a new connection and reads nothing.
    ///
    /// # Errors
    /// If the server does not accept the connection or the bytes.
    pub async fn start(&self) -> io::Result<Connection> {
        let mut connection = Connection::try_open(self.address).await?;
        connection.write(&self.bytes()).await?;
        Ok(connection)
    }
}
