//! A connection that speaks HTTP/1.1, or whatever bytes a test writes.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::decoder::Decoder;
use super::response::Response;
use crate::wait::DEADLINE;

/// What a [`Connection`] reads from and writes to: TCP, or TLS over TCP.
pub trait Stream: AsyncRead + AsyncWrite + Unpin {}

impl<S: AsyncRead + AsyncWrite + Unpin> Stream for S {}

/// A connection. It is never opened again by itself: if it breaks, the test learns that.
pub struct Connection<S = TcpStream> {
    stream: S,
    decoder: Decoder,
    received: usize,
}

/// Why there is no response, and what came of it.
struct Broken {
    error: io::Error,
    partial: Option<Response>,
}

impl Connection {
    /// Connects. Panics if the server does not accept.
    #[expect(clippy::panic, reason = "how a test reports it")]
    pub async fn open(address: SocketAddr) -> Self {
        Self::try_open(address).await.unwrap_or_else(|error| panic!("cannot connect to {address}: {error}"))
    }

    /// Connects.
    ///
    /// # Errors
    /// Those of the system.
    pub async fn try_open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        // If this fails, small writes are late, and nothing else happens.
        let _ = stream.set_nodelay(true);
        Ok(Self::over(stream))
    }

    /// Whether the server is known to have ended the connection. Bytes that have come stay for the next response.
    #[must_use]
    pub fn has_ended(&mut self) -> bool {
        match self.stream.try_read_buf(&mut self.decoder.buffer) {
            Ok(bytes) => bytes == 0,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        }
    }

    /// Closes the connection with a reset.
    pub fn reset(self) {
        // If this fails, the connection is closed in the ordinary way.
        let _ = self.stream.set_zero_linger();
    }
}

impl<S: Stream> Connection<S> {
    /// Speaks HTTP/1.1 over this stream.
    pub fn over(stream: S) -> Self {
        Self { stream, decoder: Decoder::default(), received: 0 }
    }

    /// The stream.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Bytes that the methods named `response…` have read so far.
    #[must_use]
    pub fn received(&self) -> usize {
        self.received
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// If the connection is closed or broken.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Closes the sending direction.
    ///
    /// # Errors
    /// If the connection is closed or broken.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Reads the next response to a `GET`.
    ///
    /// # Errors
    /// If the connection ends before the response does, the bytes are no HTTP, or [`DEADLINE`] passes.
    pub async fn response(&mut self) -> io::Result<Response> {
        self.response_to("GET").await
    }

    /// Reads the next response, to a request with this method.
    ///
    /// # Errors
    /// As [`Connection::response`].
    pub async fn response_to(&mut self, method: &str) -> io::Result<Response> {
        timeout(DEADLINE, self.read_response(method)).await?.map_err(|broken| broken.error)
    }

    /// As [`Connection::response_to`]; a response that breaks off behind its head is returned: see [`Response::complete`].
    ///
    /// # Errors
    /// If no whole head comes.
    pub async fn response_to_partial(&mut self, method: &str) -> io::Result<Response> {
        let read = timeout(DEADLINE, self.read_response(method)).await?;
        read.or_else(|broken| broken.partial.ok_or(broken.error))
    }

    /// Waits for the head of the next response, to a request with this method. The response is read by a later call.
    ///
    /// # Errors
    /// As [`Connection::response`].
    pub async fn head(&mut self, method: &str) -> io::Result<()> {
        let reading = async {
            loop {
                let complete = self.decoder.next(method, false)?;
                if complete.is_some() {
                    return Err(io::Error::other("the whole response came with its head"));
                }
                if self.decoder.has_head() {
                    return Ok(());
                }
                self.fill().await?;
            }
        };
        timeout(DEADLINE, reading).await?
    }

    async fn read_response(&mut self, method: &str) -> Result<Response, Broken> {
        let mut ended = None;
        loop {
            match self.decoder.next(method, ended.is_some()) {
                Ok(Some(response)) => return Ok(response),
                Ok(None) => {}
                Err(error) => return Err(Broken { error, partial: self.decoder.take_partial() }),
            }
            if let Some(error) = ended {
                return Err(Broken { error, partial: self.decoder.take_partial() });
            }
            match self.fill().await {
                Ok(()) => {}
                // A response without a length is complete at the end of the connection.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => ended = Some(error),
                Err(error) => return Err(Broken { error, partial: self.decoder.take_partial() }),
            }
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.decoder.buffer).await? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection ended before the response did",
            )),
            bytes => {
                self.received += bytes;
                Ok(())
            }
        }
    }

    /// Reads until the buffer holds `at_least` bytes or the connection ends; the length of the buffer.
    ///
    /// # Errors
    /// If the connection breaks, or [`DEADLINE`] passes.
    pub async fn read_some(&mut self, at_least: usize) -> io::Result<usize> {
        while self.decoder.buffer.len() < at_least {
            if timeout(DEADLINE, self.stream.read_buf(&mut self.decoder.buffer)).await?? == 0 {
                break;
            }
        }
        Ok(self.decoder.buffer.len())
    }

    /// All bytes until the connection ends, or until none has come for `quiet`.
    pub async fn drain(&mut self, quiet: Duration) -> Vec<u8> {
        while let Ok(Ok(1..)) = timeout(quiet, self.stream.read_buf(&mut self.decoder.buffer)).await {}
        std::mem::take(&mut self.decoder.buffer)
    }

    /// All bytes until the connection ends, as text. A reset is an end, too. Panics after [`DEADLINE`].
    pub async fn until_closed(&mut self) -> String {
        let buffer = &mut self.decoder.buffer;
        let reading = async { while let Ok(1..) = self.stream.read_buf(buffer).await {} };
        timeout(DEADLINE, reading).await.expect("the server closes in time");
        String::from_utf8_lossy(&std::mem::take(&mut self.decoder.buffer)).into_owned()
    }

    /// Reads until the server closes; `false` if that does not happen within `limit`.
    pub async fn closed_within(&mut self, limit: Duration) -> bool {
        let buffer = &mut self.decoder.buffer;
        let reading = async { while let Ok(1..) = self.stream.read_buf(buffer).await {} };
        timeout(limit, reading).await.is_ok()
    }
}

/// Sends bytes as they are on a new connection; all that comes until the server closes, as text.
pub async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut connection = Connection::open(address).await;
    connection.write(bytes).await.expect("the server reads");
    connection.until_closed().await
}
