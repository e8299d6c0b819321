//! As much of HTTP/1.1 as the benchmark's own two ends speak: heads without continuation, bodies of a told length.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt as _};

const PIECE: usize = 64 << 10;
/// Longer heads and bodies are nobody's here.
const MOST: usize = 4 << 20;

/// Messages, one after the other.
pub(crate) struct Messages<R> {
    stream: R,
    buffer: Vec<u8>,
}

/// The first line of a message, and how many bytes its body has.
pub(crate) struct Message {
    pub(crate) first_line: String,
    pub(crate) body: usize,
}

impl<R: AsyncRead + Unpin> Messages<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, buffer: Vec::with_capacity(PIECE) }
    }

    pub(crate) fn stream(&mut self) -> &mut R {
        &mut self.stream
    }

    /// The next message, read to its end; `None` at the stream's.
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
        if self.buffer.len() > MOST {
            return Err(io::Error::other("a message is too long"));
        }
        self.buffer.reserve(PIECE);
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
            return Err(io::Error::other("a body without a length"));
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
