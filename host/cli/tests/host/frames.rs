//! HTTP/2 by hand (RFC 9113, RFC 7541): frames that no well-behaved client sends, and the frames of the host.

use testkit::{DEADLINE, Host};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The error code of `RST_STREAM` and `GOAWAY`.
    pub(crate) fn error(&self) -> Option<u32> {
        let at = match self.kind {
            RST_STREAM => 0,
            GOAWAY => 4,
            _ => return None,
        };
        Some(u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap()))
    }

    /// Whether the frame is the `HEADERS` of a 200: `:status` comes first, and 200 is one byte of the static table.
    pub(crate) fn is_ok(&self) -> bool {
        self.kind == HEADERS && self.payload.first() == Some(&0x88)
    }
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A field block of literals without indexing and without Huffman coding.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        string(&mut bytes, name);
        string(&mut bytes, value);
    }
    bytes
}

/// A string literal: its length as an integer with a prefix of seven bits (RFC 7541, section 5.1), then its bytes.
fn string(to: &mut Vec<u8>, text: &str) {
    match u8::try_from(text.len()) {
        Ok(short @ 0..127) => to.push(short),
        _ => {
            to.push(127);
            let mut rest = text.len() - 127;
            while rest >= 128 {
                to.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            to.push(u8::try_from(rest).unwrap());
        }
    }
    to.extend(text.bytes());
}

/// A `GET` without a body.
pub(crate) fn get(stream: u32, path: &str) -> Vec<u8> {
    let fields = [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)];
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block(&fields))
}

/// A client that may break each rule of HTTP/2.
pub(crate) struct Peer(pub(crate) TcpStream);

impl Peer {
    /// Connects with these settings, by number.
    pub(crate) async fn connect(host: &Host, settings: &[(u16, u32)]) -> Self {
        let mut peer = Self(TcpStream::connect(host.address()).await.expect("the host accepts"));
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        peer.send(&frame(SETTINGS, 0, 0, &payload)).await;
        peer
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        timeout(DEADLINE, self.0.write_all(bytes))
            .await
            .expect("the host reads in time")
            .expect("the host reads");
    }

    /// The next frame; `None` if the host has closed the connection.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            Some(Frame { kind: head[3], flags: head[4], stream, payload })
        };
        timeout(DEADLINE, read).await.expect("a frame, or the end, in time")
    }

    /// The next `HEADERS`, `RST_STREAM` or `GOAWAY`; `None` if the host has closed the connection. Pings are answered meanwhile.
    pub(crate) async fn verdict(&mut self) -> Option<Frame> {
        loop {
            match self.next().await {
                Some(frame) if [HEADERS, RST_STREAM, GOAWAY].contains(&frame.kind) => return Some(frame),
                Some(ping) if ping.kind == PING && ping.flags & ACK == 0 => {
                    self.send(&frame(PING, ACK, 0, &ping.payload)).await;
                }
                Some(_) => {}
                None => return None,
            }
        }
    }
}
