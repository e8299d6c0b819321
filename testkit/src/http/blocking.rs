//! HTTP/1.1 for tests without a runtime, over TCP or TLS.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::decoder::Decoder;
use super::request::Request;
use super::response::Response;
use crate::tls::Trust;
use crate::wait::{DEADLINE, PAUSE, eventually_within};

/// The time to connect, and between two reads: above each time limit of the service, the gateway and the mesh.
const IO_TIMEOUT: Duration = Duration::from_secs(45);

/// Bytes of a response that the client buffers at most.
const MAX_BUFFERED: usize = 16 << 20;

/// A client of one address under one host name.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    host: String,
    trust: Option<Trust>,
}

/// A connection. It is never opened again by itself: if it breaks, the test learns that.
pub struct Connection {
    stream: Stream,
    decoder: Decoder,
    host: String,
    over: bool,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Client {
    /// A client without TLS.
    #[must_use]
    pub fn http(address: SocketAddr, host: &str) -> Self {
        Self { address, host: host.to_owned(), trust: None }
    }

    /// A client with TLS. The host name is sent as the server name and checked against the certificate.
    #[must_use]
    pub fn https(address: SocketAddr, host: &str, trust: Trust) -> Self {
        Self { address, host: host.to_owned(), trust: Some(trust) }
    }

    /// The server's address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// If the address does not accept, or the TLS handshake fails.
    pub fn connect(&self) -> io::Result<Connection> {
        let tcp = TcpStream::connect_timeout(&self.address, IO_TIMEOUT)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(IO_TIMEOUT))?;
        tcp.set_write_timeout(Some(IO_TIMEOUT))?;
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
        Ok(Connection { stream, decoder: Decoder::default(), host: self.host.clone(), over: false })
    }

    /// Sends one request on a connection of its own.
    ///
    /// # Errors
    /// If there is no whole response.
    pub fn send(&self, request: &Request) -> io::Result<Response> {
        self.connect()?.send(&request.clone().header("connection", "close"))
    }

    /// `GET` of this target. Panics if there is no whole response, whatever its status.
    #[track_caller]
    #[must_use]
    #[expect(clippy::panic, reason = "how a test reports a missing response")]
    pub fn get(&self, target: &str) -> Response {
        self.send(&Request::get(target))
            .unwrap_or_else(|error| panic!("GET {target} of {} ({}): {error}", self.host, self.address))
    }

    /// Sends `GET` of this target until the status is 200, at most for [`DEADLINE`]. Each attempt has a connection of its own.
    #[track_caller]
    pub fn wait_until_ok(&self, target: &str) -> Response {
        eventually_within(DEADLINE, PAUSE, &format!("GET {target} of {} is 200", self.address), || {
            let response = self.send(&Request::get(target)).map_err(|error| error.to_string())?;
            if response.status == 200 { Ok(response) } else { Err(format!("it is {}", response.status)) }
        })
    }
}

impl Connection {
    /// Sends one request.
    ///
    /// # Errors
    /// If there is no whole response.
    pub fn send(&mut self, request: &Request) -> io::Result<Response> {
        self.stream.write_all(&request.bytes(&self.host))?;
        self.stream.flush()?;
        let mut ended = false;
        loop {
            if let Some(response) = self.decoder.next(request.method(), ended)? {
                self.over = ended || response.closes();
                return Ok(response);
            }
            if ended {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the connection ended before the response did",
                ));
            }
            ended = self.read()? == 0;
        }
    }

    /// Whether the last response was the connection's last.
    #[must_use]
    pub fn over(&self) -> bool {
        self.over
    }

    fn read(&mut self) -> io::Result<usize> {
        if self.decoder.buffer.len() > MAX_BUFFERED {
            return Err(io::Error::other("a response over the client's limit"));
        }
        let mut bytes = [0; 16 << 10];
        let read = match self.stream.read(&mut bytes) {
            // TLS without `close_notify`: an end, too. A body with a length is not complete then.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
            read => read?,
        };
        self.decoder.buffer.extend_from_slice(bytes.get(..read).unwrap_or_default());
        Ok(read)
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
