//! Detects the HTTP version of a connection without TLS by its first bytes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

/// The connection preface of HTTP/2 (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Number of bytes to read ahead, which is mostly enough for a whole request's head.
const READ_AHEAD: usize = 4 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Reads until the protocol is clear. Returns the protocol and the bytes that were read. `idle` is the timeout for
/// the first byte, and `head` for the rest. `None`: the client has left, or a timeout has ended. Before its first
/// byte, a connection counts as idle, because gateways keep unused connections in reserve.
pub(super) async fn detect(
    stream: &mut TcpStream,
    head: Duration,
    idle: Duration,
) -> Option<(Protocol, Bytes)> {
    let mut read = BytesMut::with_capacity(READ_AHEAD);
    timeout(idle, stream.readable()).await.ok()?.ok()?;
    let detected = async {
        loop {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
            if let Some(protocol) = classify(&read) {
                return Some(protocol);
            }
        }
    };
    let protocol = timeout(head, detected).await.ok()??;
    Some((protocol, read.freeze()))
}

/// Returns `None` while both protocols are possible.
fn classify(read: &[u8]) -> Option<Protocol> {
    if read.starts_with(PREFACE) {
        Some(Protocol::Http2)
    } else if PREFACE.starts_with(read) {
        None
    } else {
        Some(Protocol::Http1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_is_told_from_everything_else() {
        assert_eq!(classify(b"GET / HTTP/1.1\r\n"), Some(Protocol::Http1));
        assert_eq!(classify(b"P"), None);
        assert_eq!(classify(b"PRI * HTTP/2.0\r\n\r\n"), None);
        assert_eq!(classify(b"PUT /"), Some(Protocol::Http1));
        assert_eq!(classify(PREFACE), Some(Protocol::Http2));
        assert_eq!(classify(&[PREFACE, b"\0\0\0"].concat()), Some(Protocol::Http2));
        assert_eq!(classify(b"\x16\x03\x01"), Some(Protocol::Http1));
    }
}
