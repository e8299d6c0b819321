//! Which HTTP a client speaks, told by its first bytes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::{io::AsyncReadExt as _, net::TcpStream, time::timeout};

/// What an HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes to read ahead: a whole request's head, mostly.
const READ_AHEAD: usize = 4 << 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Reads until the protocol is clear; returns it with what was read. `None`: the client left, or took too long: a connection on which
/// nothing was sent is one without a request, like any between two of them. Gateways keep such in reserve.
pub(super) async fn tell(
    stream: &mut TcpStream,
    head: Duration,
    idle: Duration,
) -> Option<(Protocol, Bytes)> {
    let mut read = BytesMut::with_capacity(READ_AHEAD);
    timeout(idle, stream.readable()).await.ok()?.ok()?;
    let told = async {
        loop {
            if stream.read_buf(&mut read).await.ok()? == 0 {
                return None;
            }
            if let Some(protocol) = classify(&read) {
                return Some(protocol);
            }
        }
    };
    let protocol = timeout(head, told).await.ok()??;
    Some((protocol, read.freeze()))
}

/// `None` as long as it can be either.
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
