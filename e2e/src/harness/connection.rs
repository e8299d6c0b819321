//! An HTTP/1.1 client that hides nothing: what is sent and what comes back is seen byte by byte.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::PATIENCE;

const MAX_HEADERS: usize = 64;

/// A request that is being put together.
#[derive(Debug, Clone)]
pub struct Ask {
    to: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Names in lower case, in the order received.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

/// A connection, for requests that no client would send.
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    received: usize,
}

impl Ask {
    /// A request without headers and body.
    #[must_use]
    pub fn new(to: SocketAddr, method: &str, target: &str) -> Self {
        Self {
            to,
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The request's bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            let _ = write!(head, "host: {}\r\n", self.to);
        }
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        if !self.body.is_empty() {
            let _ = write!(head, "content-length: {}\r\n", self.body.len());
        }
        [head.as_bytes(), b"\r\n", &self.body].concat()
    }

    /// Sends it on a connection of its own and reads the answer.
    ///
    /// # Panics
    /// When no whole answer comes within [`PATIENCE`].
    #[expect(clippy::panic, reason = "how a test reports a missing answer")]
    pub async fn send(self) -> Reply {
        self.try_send().await.unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.target))
    }

    /// Sends it on a connection of its own and reads the answer.
    ///
    /// # Errors
    /// When no whole answer comes within [`PATIENCE`].
    pub async fn try_send(&self) -> io::Result<Reply> {
        let sending = async {
            let mut connection = Connection::new(TcpStream::connect(self.to).await?);
            connection.stream.write_all(&self.bytes()).await?;
            connection.reply_to(&self.method).await
        };
        tokio::time::timeout(PATIENCE, sending).await?
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        // Only a delay would follow from an error here.
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: Vec::new(), received: 0 }
    }

    /// Connects.
    ///
    /// # Panics
    /// When that fails.
    #[expect(clippy::panic, reason = "how a test reports it")]
    pub async fn open(to: SocketAddr) -> Self {
        Self::new(
            TcpStream::connect(to).await.unwrap_or_else(|error| panic!("cannot connect to {to}: {error}")),
        )
    }

    /// Connects, if that can be.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn try_open(to: SocketAddr) -> io::Result<Self> {
        Ok(Self::new(TcpStream::connect(to).await?))
    }

    /// Bytes that have come so far, while answers were waited for.
    #[must_use]
    pub fn received(&self) -> usize {
        self.received
    }

    /// Whether the other side has ended it, as far as is known by now.
    #[must_use]
    pub fn has_ended(&mut self) -> bool {
        // What has come besides stays, and is taken for the next answer's beginning.
        match self.stream.try_read_buf(&mut self.buffer) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When the other side has gone.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// When the other side has gone.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Everything that comes until the other side closes, or until nothing has come for `quiet`.
    pub async fn drain(&mut self, quiet: Duration) -> Vec<u8> {
        while let Ok(Ok(1..)) = tokio::time::timeout(quiet, self.stream.read_buf(&mut self.buffer)).await {}
        std::mem::take(&mut self.buffer)
    }

    /// Waits for the other side to close, reading on; `false` when it does not within `limit`.
    pub async fn closed_within(&mut self, limit: Duration) -> bool {
        let reading = async { while let Ok(1..) = self.stream.read_buf(&mut self.buffer).await {} };
        tokio::time::timeout(limit, reading).await.is_ok()
    }

    /// Reads so many bytes at least, or to the end.
    ///
    /// # Errors
    /// When the connection breaks, or [`PATIENCE`] ends.
    pub async fn read_some(&mut self, at_least: usize) -> io::Result<usize> {
        while self.buffer.len() < at_least {
            if tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await?? == 0 {
                break;
            }
        }
        Ok(self.buffer.len())
    }

    /// Resets the connection.
    pub fn reset(self) {
        // Where that fails it is closed in good order, which is a kind of leaving too.
        let _ = self.stream.set_zero_linger();
    }

    /// Reads the next answer.
    ///
    /// # Errors
    /// When the connection ends before the answer does, or what comes is no HTTP, or [`PATIENCE`] ends.
    pub async fn reply(&mut self) -> io::Result<Reply> {
        tokio::time::timeout(PATIENCE, self.reply_to("GET")).await?
    }

    async fn reply_to(&mut self, method: &str) -> io::Result<Reply> {
        let mut reply = loop {
            if let Some((reply, length)) = head(&self.buffer)? {
                self.buffer.drain(..length);
                // Informational answers precede the real one.
                if reply.status >= 200 {
                    break reply;
                }
                continue;
            }
            self.fill().await?;
        };
        if method == "HEAD" || matches!(reply.status, 204 | 304) {
            return Ok(reply);
        }
        if reply.header("transfer-encoding") == Some("chunked") {
            reply.body = self.chunks().await?;
        } else if let Some(length) = reply.header("content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            reply.body = self.take(length).await?;
        } else {
            while self.stream.read_buf(&mut self.buffer).await? > 0 {}
            reply.body = std::mem::take(&mut self.buffer);
        }
        Ok(reply)
    }

    async fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line().await?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
            let size = size.map_err(|_| io::Error::other(format!("not a chunk size: {line:?}")))?;
            if size == 0 {
                while !self.line().await?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size).await?);
            self.line().await?;
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.take(end).await?;
                self.take(2).await?;
                return String::from_utf8(line).map_err(io::Error::other);
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection ended before the answer did",
            )),
            bytes => {
                self.received += bytes;
                Ok(())
            }
        }
    }
}

/// The head at the front of `bytes` and its length; `None` while it is not complete.
fn head(bytes: &[u8]) -> io::Result<Option<(Reply, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let headers = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned()));
    Ok(Some((
        Reply { status: parsed.code.unwrap_or(0), headers: headers.collect(), body: Vec::new() },
        length,
    )))
}

impl Reply {
    /// The value of a header, which must not occur twice.
    ///
    /// # Panics
    /// When it does.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        let first = values.next();
        assert!(values.next().is_none(), "{name} occurs twice: {:?}", self.headers);
        first
    }

    /// The body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    #[expect(clippy::panic, reason = "how a test reports it")]
    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    #[expect(clippy::panic, reason = "how a test reports it")]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {} {:?} {:?}", self.status, self.headers, self.text()))
    }
}
