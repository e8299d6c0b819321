//! Reads HTTP/1.1 messages (RFC 9112), as far as the benchmark needs: header lines without folding, bodies with `Content-Length`.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// How many bytes a read asks for at least.
const READ_BYTES: usize = 64 << 10;
/// A longer message is an error.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Reads messages from a stream, one after the other.
pub(crate) struct Messages<R> {
    stream: R,
    buffer: Vec<u8>,
}

/// A message that was read to its end.
pub(crate) struct Message {
    /// The request line or the status line, without its line ending.
    pub(crate) first_line: String,
    /// The bytes of the body.
    pub(crate) body: usize,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, buffer: Vec::with_capacity(READ_BYTES) }
    }

    pub(crate) fn stream(&mut self) -> &mut R {
        &mut self.stream
    }

    /// Reads the next message to its end. Returns `None` at the end of the stream.
    ///
    /// # Errors
    /// Fails when the stream ends inside a message, or when the message is too long or has a transfer encoding.
    pub(crate) async fn next(&mut self) -> io::Result<Option<Message>> {
        let mut searched = 0;
        let head = loop {
            let from = searched.min(self.buffer.len());
            let found = self.buffer.get(from..).and_then(|rest| find(rest, b"\r\n\r\n"));
            if let Some(at) = found {
                break from + at + 4;
            }
            searched = self.buffer.len().saturating_sub(3);
            if self.read().await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        };
        let text = String::from_utf8_lossy(self.buffer.get(..head).unwrap_or_default());
        let message = parse(&text)?;
        let end = head + message.body;
        while self.buffer.len() < end {
            if self.read().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.buffer.drain(..end);
        Ok(Some(message))
    }

    async fn read(&mut self) -> io::Result<usize> {
        if self.buffer.len() > MAX_MESSAGE_BYTES {
            return Err(io::Error::other("a message is too long"));
        }
        self.buffer.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.buffer).await
    }
}

fn parse(head: &str) -> io::Result<Message> {
    let mut lines = head.split("\r\n");
    let first_line = lines.next().unwrap_or_default().to_owned();
    let mut body = 0;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            body = value.trim().parse().map_err(|_| io::Error::other(format!("{line:?}")))?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(io::Error::other("a body without Content-Length"));
        }
    }
    Ok(Message { first_line, body })
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn messages_are_told_apart_by_their_lengths() {
        let bytes: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 404 Not Found\r\n\r\n";
        let mut messages = Messages::new(bytes);
        let first = messages.next().await.unwrap().unwrap();
        assert_eq!((first.first_line.as_str(), first.body), ("HTTP/1.1 200 OK", 5));
        assert_eq!(messages.next().await.unwrap().unwrap().first_line, "HTTP/1.1 404 Not Found");
        assert!(messages.next().await.unwrap().is_none());
        assert!(Messages::new(&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"[..]).next().await.is_err());
    }
}
