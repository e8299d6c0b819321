//! A client, and a connection of it that is kept between requests.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::{Request, Response, Trust};
use crate::fail;

/// To connect, and between two reads: above every time limit of the service, the gateway and the mesh.
const PATIENCE: Duration = Duration::from_secs(45);

/// Bytes of an answer that are read at most.
const MAX_ANSWER: usize = 16 << 20;

/// Speaks to one address under one host name.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    host: String,
    trust: Option<Trust>,
}

/// A connection. It is not opened again by itself: where one breaks, a test wants to know.
pub struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    host: String,
    over: bool,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    /// In the clear.
    #[must_use]
    pub fn http(address: SocketAddr, host: &str) -> Self {
        Self { address, host: host.to_owned(), trust: None }
    }

    /// Over TLS, with the host name as the name indicated and checked.
    #[must_use]
    pub fn https(address: SocketAddr, host: &str, trust: Trust) -> Self {
        Self { address, host: host.to_owned(), trust: Some(trust) }
    }

    /// Where it connects to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// When the address does not answer, or TLS fails.
    pub fn connect(&self) -> io::Result<Connection> {
        let tcp = TcpStream::connect_timeout(&self.address, PATIENCE)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let stream = match &self.trust {
            None => Stream::Plain(tcp),
            Some(trust) => {
                let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
                let tls = ClientConnection::new(Arc::clone(&trust.0), name).map_err(io::Error::other)?;
                let mut stream = StreamOwned::new(tls, tcp);
                while stream.conn.is_handshaking() {
                    stream.conn.complete_io(&mut stream.sock)?;
                }
                Stream::Tls(Box::new(stream))
            }
        };
        Ok(Connection { stream, buffer: Vec::new(), host: self.host.clone(), over: false })
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn send(&self, request: &Request) -> io::Result<Response> {
        self.connect()?.send(&request.clone().header("connection", "close"))
    }

    /// `GET` that must be answered, by whatever status.
    ///
    /// # Panics
    /// When it is not.
    #[track_caller]
    #[must_use]
    pub fn get(&self, target: &str) -> Response {
        self.send(&Request::get(target)).unwrap_or_else(|error| {
            fail(format!("GET {target} of {} ({}): {error}", self.host, self.address))
        })
    }
}

impl Connection {
    /// One request.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub fn send(&mut self, request: &Request) -> io::Result<Response> {
        self.stream.write_all(&request.bytes(&self.host))?;
        self.stream.flush()?;
        let mut response = loop {
            if let Some((response, length)) = Response::parse(&self.buffer).map_err(io::Error::other)? {
                self.buffer.drain(..length);
                break response;
            }
            self.more()?;
        };
        let named = |name| response.header(name).unwrap_or_default().to_ascii_lowercase();
        self.over = named("connection").contains("close");
        if request.method == "HEAD" || matches!(response.status, 204 | 304) {
            return Ok(response);
        }
        response.body = if named("transfer-encoding").contains("chunked") {
            self.chunks()?
        } else if let Ok(length) = named("content-length").parse() {
            self.exactly(length)?
        } else {
            self.over = true;
            while self.more().is_ok() {}
            std::mem::take(&mut self.buffer)
        };
        Ok(response)
    }

    /// Whether the server said that this was the connection's last answer.
    #[must_use]
    pub fn over(&self) -> bool {
        self.over
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let digits = line.split(';').next().unwrap_or_default().trim();
            let length = usize::from_str_radix(digits, 16).map_err(io::Error::other)?;
            if length == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(length)?);
            self.line()?;
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.buffer.drain(..end + 2).collect::<Vec<_>>();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.more()?;
        }
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.more()?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn more(&mut self) -> io::Result<()> {
        if self.buffer.len() > MAX_ANSWER {
            return Err(io::Error::other("an answer over the client's limit"));
        }
        let mut bytes = vec![0; 16 << 10];
        let read = self.stream.read(&mut bytes)?;
        if read == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "closed before the answer was complete",
            ));
        }
        bytes.truncate(read);
        self.buffer.append(&mut bytes);
        Ok(())
    }
}

impl Read for Stream {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.read(bytes),
            Self::Tls(tls) => tls.read(bytes),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => tcp.write(bytes),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => tcp.flush(),
            Self::Tls(tls) => tls.flush(),
        }
    }
}
