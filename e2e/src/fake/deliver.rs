//! Writes a response's bytes, well-formed or broken.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::response::{Delivery, ScriptedResponse};

/// Bytes of filler written at once.
const BLOCK: usize = 64 << 10;
static BLANK: [u8; BLOCK] = [b' '; BLOCK];
/// Bytes of an endless body at most, if the client reads on.
const ENDLESS: u64 = 4 << 30;
/// How long a silent response stays silent at most, if the client waits.
const SILENCE: Duration = Duration::from_secs(120);

/// What becomes of the connection after an response.
pub(super) enum After {
    KeepAlive,
    Close,
    Reset,
}

/// Sends `response` with `body` in place of its own body.
pub(super) async fn deliver(
    stream: &mut TcpStream,
    body: String,
    response: &ScriptedResponse,
    head_only: bool,
) -> io::Result<After> {
    let length = match response.delivery {
        Delivery::Raw(ref bytes) => {
            stream.write_all(bytes.as_bytes()).await?;
            return Ok(After::Close);
        }
        Delivery::Close => return Ok(After::Close),
        Delivery::Silence => {
            // The wait ends early if the client closes the connection.
            let _ = tokio::time::timeout(SILENCE, stream.read(&mut [0; 1])).await;
            return Ok(After::Close);
        }
        Delivery::Chunked | Delivery::Endless => None,
        Delivery::Claim(length) | Delivery::Filler(length) => Some(length),
        Delivery::Sized | Delivery::Drip { .. } | Delivery::Cut(_) | Delivery::Reset(_) => {
            Some(body.len() as u64)
        }
    };
    stream.write_all(head(response, length).as_bytes()).await?;
    if head_only || matches!(response.status, Some(204 | 304)) {
        return Ok(After::KeepAlive);
    }
    deliver_body(stream, body.as_bytes(), &response.delivery).await
}

async fn deliver_body(stream: &mut TcpStream, body: &[u8], delivery: &Delivery) -> io::Result<After> {
    match *delivery {
        Delivery::Chunked => {
            for part in body.chunks(BLOCK) {
                chunk(stream, part).await?;
            }
            stream.write_all(b"0\r\n\r\n").await?;
            Ok(After::KeepAlive)
        }
        Delivery::Drip { bytes, every_ms } => {
            for part in body.chunks(bytes.max(1)) {
                stream.write_all(part).await?;
                tokio::time::sleep(Duration::from_millis(every_ms)).await;
            }
            Ok(After::KeepAlive)
        }
        Delivery::Claim(_) => {
            stream.write_all(body).await?;
            Ok(After::Close)
        }
        Delivery::Cut(at) => {
            stream.write_all(body.get(..at).unwrap_or(body)).await?;
            Ok(After::Close)
        }
        Delivery::Reset(at) => {
            stream.write_all(body.get(..at).unwrap_or(body)).await?;
            Ok(After::Reset)
        }
        Delivery::Filler(length) => {
            filler(stream, length).await?;
            Ok(After::KeepAlive)
        }
        Delivery::Endless => {
            chunk(stream, b"[").await?;
            let mut sent = 0;
            while sent < ENDLESS {
                chunk(stream, &BLANK).await?;
                sent += BLOCK as u64;
            }
            Ok(After::Close)
        }
        Delivery::Sized | Delivery::Raw(_) | Delivery::Close | Delivery::Silence => {
            stream.write_all(body).await?;
            Ok(After::KeepAlive)
        }
    }
}

/// Writes an empty JSON array of `length` bytes.
async fn filler(stream: &mut TcpStream, length: u64) -> io::Result<()> {
    stream.write_all(b"[").await?;
    let mut left = length.saturating_sub(2);
    while left > 0 {
        let size = left.min(BLOCK as u64);
        stream.write_all(BLANK.get(..usize::try_from(size).unwrap_or(BLOCK)).unwrap_or(&BLANK)).await?;
        left -= size;
    }
    stream.write_all(b"]").await
}

async fn chunk(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
    stream.write_all(bytes).await?;
    stream.write_all(b"\r\n").await
}

/// The head, with a `Content-Length` or chunked.
fn head(response: &ScriptedResponse, length: Option<u64>) -> String {
    let status = response.status.unwrap_or(200);
    let mut head = format!("HTTP/1.1 {status} Status {status}\r\n");
    for (name, value) in &response.headers {
        // Writing to a string cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = match (length, status) {
        (_, 204 | 304) => Ok(()),
        (Some(length), _) => write!(head, "content-length: {length}\r\n"),
        (None, _) => write!(head, "transfer-encoding: chunked\r\n"),
    };
    head + "\r\n"
}
