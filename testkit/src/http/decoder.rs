//! Decodes HTTP/1.1 responses (RFC 9112) while their bytes come in. The decoder does no I/O.

use std::io;

use super::response::Response;

const MAX_HEADERS: usize = 128;

/// Decodes one response after another from a buffer that its owner fills.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    pub(super) buffer: Vec<u8>,
    partial: Option<Partial>,
}

/// A response whose head is complete.
#[derive(Debug)]
struct Partial {
    response: Response,
    framing: Framing,
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    /// So many more bytes.
    Length(usize),
    /// Chunks; the next bytes are a chunk's size.
    ChunkSize,
    /// So many more bytes of a chunk.
    Chunk(usize),
    /// The end of the line behind a chunk's data.
    ChunkEnd,
    /// Trailers, up to an empty line.
    Trailers,
    /// Everything up to the end of the connection.
    ToEnd,
}

impl Decoder {
    /// Whether a response has begun and is not complete.
    pub(super) fn has_head(&self) -> bool {
        self.partial.is_some()
    }

    /// The next response to a request with this method, once it is complete. `ended` says that no more bytes will come.
    ///
    /// # Errors
    /// If the bytes are no HTTP response.
    pub(super) fn next(&mut self, method: &str, ended: bool) -> io::Result<Option<Response>> {
        let mut partial = match self.partial.take() {
            Some(partial) => partial,
            None => match self.head(method)? {
                Some(partial) => partial,
                None => return Ok(None),
            },
        };
        if self.body(&mut partial, ended)? {
            partial.response.complete = true;
            return Ok(Some(partial.response));
        }
        self.partial = Some(partial);
        Ok(None)
    }

    /// What has come of a response whose head is complete.
    pub(super) fn take_partial(&mut self) -> Option<Response> {
        self.partial.take().map(|partial| partial.response)
    }

    /// The head at the front of the buffer. Informational responses are skipped.
    fn head(&mut self, method: &str) -> io::Result<Option<Partial>> {
        loop {
            let Some((response, length)) = parse(&self.buffer)? else { return Ok(None) };
            self.buffer.drain(..length);
            if response.status < 200 {
                continue;
            }
            let framing = if method == "HEAD" || matches!(response.status, 204 | 304) {
                Framing::Length(0)
            } else if response.header("transfer-encoding") == Some("chunked") {
                Framing::ChunkSize
            } else if let Some(length) = response.header("content-length") {
                Framing::Length(length.parse().map_err(io::Error::other)?)
            } else {
                Framing::ToEnd
            };
            return Ok(Some(Partial { response, framing }));
        }
    }

    /// Moves bytes from the buffer to the body; whether the body is complete.
    fn body(&mut self, partial: &mut Partial, ended: bool) -> io::Result<bool> {
        loop {
            partial.framing = match partial.framing {
                Framing::Length(left) => {
                    return Ok(self.take(&mut partial.response, left, Framing::Length, &mut partial.framing));
                }
                Framing::Chunk(left) => {
                    if !self.take(&mut partial.response, left, Framing::Chunk, &mut partial.framing) {
                        return Ok(false);
                    }
                    Framing::ChunkEnd
                }
                Framing::ChunkSize => match self.line()? {
                    None => return Ok(false),
                    Some(line) => match chunk_size(&line)? {
                        0 => Framing::Trailers,
                        size => Framing::Chunk(size),
                    },
                },
                Framing::ChunkEnd => match self.line()? {
                    None => return Ok(false),
                    Some(line) if line.is_empty() => Framing::ChunkSize,
                    Some(line) => return Err(io::Error::other(format!("{line:?} behind a chunk"))),
                },
                Framing::Trailers => match self.line()? {
                    None => return Ok(false),
                    Some(line) if line.is_empty() => return Ok(true),
                    Some(_) => Framing::Trailers,
                },
                Framing::ToEnd => {
                    partial.response.body.append(&mut self.buffer);
                    return Ok(ended);
                }
            };
        }
    }

    /// Moves up to `left` bytes to the body, and sets the framing to what is left then; whether nothing is.
    fn take(
        &mut self,
        response: &mut Response,
        left: usize,
        framing: fn(usize) -> Framing,
        now: &mut Framing,
    ) -> bool {
        let here = left.min(self.buffer.len());
        response.body.extend(self.buffer.drain(..here));
        *now = framing(left - here);
        left == here
    }

    /// The line at the front of the buffer without its end, once it is complete.
    fn line(&mut self) -> io::Result<Option<String>> {
        let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
        let mut line: Vec<u8> = self.buffer.drain(..end + 2).collect();
        line.truncate(end);
        String::from_utf8(line).map(Some).map_err(io::Error::other)
    }
}

fn chunk_size(line: &str) -> io::Result<usize> {
    let size = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
    size.map_err(|_| io::Error::other(format!("not a chunk size: {line:?}")))
}

/// The head at the front of `bytes` and its length; `None` while the head is not complete.
fn parse(bytes: &[u8]) -> io::Result<Option<(Response, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let headers = parsed
        .headers
        .iter()
        .map(|header| (header.name.to_ascii_lowercase(), String::from_utf8_lossy(header.value).into_owned()));
    let (status, headers) = (parsed.code.unwrap_or(0), headers.collect());
    Ok(Some((Response { status, headers, body: Vec::new(), complete: false }, length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes bytes that come one by one.
    fn decode(bytes: &[u8], method: &str) -> (Vec<Response>, Option<Response>) {
        let (mut decoder, mut responses) = (Decoder::default(), Vec::new());
        for byte in bytes {
            decoder.buffer.push(*byte);
            responses.extend(decoder.next(method, false).unwrap());
        }
        responses.extend(decoder.next(method, true).unwrap());
        (responses, decoder.take_partial())
    }

    #[test]
    fn responses_are_told_apart_by_their_framing() {
        let bytes = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\
            HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-After: 1\r\n\r\n\
            HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n\r\nto the end";
        let (responses, partial) = decode(bytes, "GET");
        let bodies: Vec<_> = responses.iter().map(Response::text).collect();
        assert_eq!(bodies, ["hello", "abcde", "", "to the end"]);
        assert!(partial.is_none() && responses.iter().all(|response| response.complete));
        let (responses, _) = decode(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD");
        assert_eq!((responses.len(), responses[0].body.len()), (1, 0));
    }

    #[test]
    fn a_body_that_breaks_off_is_not_complete() {
        for bytes in [
            &b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n",
        ] {
            let (responses, partial) = decode(bytes, "GET");
            assert!(responses.is_empty());
            let partial = partial.unwrap();
            assert!(!partial.complete && partial.text() == "hel");
        }
    }

    #[test]
    fn what_is_no_response_is_an_error() {
        for bytes in [
            &b"nonsense\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        ] {
            let mut decoder = Decoder { buffer: bytes.to_vec(), ..Decoder::default() };
            assert!(decoder.next("GET", true).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
