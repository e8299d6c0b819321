//! Requests as the fake reads them from a connection.

use std::io;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// The maximum length of a request's head and body together, in bytes.
const MAX_REQUEST: usize = 1 << 20;
const MAX_HEADERS: usize = 64;

/// A request.
pub(super) struct FakeRequest {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl FakeRequest {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The number that a query parameter gives.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(known, _)| *known == name)?.1.parse().ok()
    }

    /// Whether the client asks to close the connection behind the response.
    pub(super) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// Reads one request; `None` if the client has closed the connection between two requests.
pub(super) async fn read_request(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<FakeRequest>> {
    loop {
        if let Some((mut request, head)) = parse(buffer)?
            && let Some((body, length)) = body(&request, buffer.get(head..).unwrap_or_default())?
        {
            request.body = body;
            buffer.drain(..head + length);
            return Ok(Some(request));
        }
        if buffer.len() > MAX_REQUEST {
            return Err(io::Error::other("a request over the fake's limit"));
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}

/// The body at the front of `bytes`, and its length with its framing; `None` while the body is not complete.
fn body(request: &FakeRequest, bytes: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    // A proxy forwards a chunked body in chunks.
    if request.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return chunks(bytes);
    }
    let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    Ok(bytes.get(..length).map(|body| (body.to_vec(), length)))
}

/// As [`body`], for a chunked body without trailers.
fn chunks(bytes: &[u8]) -> io::Result<Option<(Vec<u8>, usize)>> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let parsed = httparse::parse_chunk_size(rest).map_err(|_| io::Error::other("not a chunk size"))?;
        let httparse::Status::Complete((line, length)) = parsed else { return Ok(None) };
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(MAX_REQUEST);
        // The chunk's data (none in the last chunk) and the end of its line.
        let Some(chunk) = rest.get(line..line + length + 2) else { return Ok(None) };
        body.extend_from_slice(chunk.get(..length).unwrap_or_default());
        at += line + chunk.len();
        if length == 0 {
            return Ok(Some((body, at)));
        }
    }
}

/// The request at the front of `bytes` without its body, and the length of its head; `None` while the head is not complete.
fn parse(bytes: &[u8]) -> io::Result<Option<(FakeRequest, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = parsed.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let target = parsed.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = FakeRequest {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: parsed
            .headers
            .iter()
            .map(|header| {
                (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned())
            })
            .collect(),
        body: Vec::new(),
    };
    Ok(Some((request, head)))
}

/// Decodes percent-encoding. Invalid escapes stay as they are.
pub(super) fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        rest = match byte {
            Some(byte) => {
                bytes.push(byte);
                after.get(2..).unwrap_or_default()
            }
            None => {
                bytes.push(b'%');
                after
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
