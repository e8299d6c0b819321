//! Limits how much memory a reply of Redis may take in the host, whatever other clients have stored there.
//!
//! The Redis client reads a reply whole before it returns it. This reader stands before it: it skips a value that is too large
//! while the value arrives, and puts an error reply in its place. The connection and all other replies on it are not affected.
//!
//! This reader and the client must agree where each reply ends. Where the client is lenient, this reader is strict, and ends
//! the connection.

use crate::MAX_VALUE_BYTES;
use bytes::BytesMut;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes of one reply, all its values together.
pub(super) const MAX_REPLY_BYTES: usize = 4 * MAX_VALUE_BYTES;
/// Most bytes of the replies that are arriving on all connections of the process together.
pub(in super::super) const MAX_ALL_BYTES: usize = 2 * MAX_REPLY_BYTES;
/// So many bytes of each reply are not counted for all connections together. Most replies are smaller.
const UNCOUNTED_BYTES: usize = 64 << 10;
/// What a part of a reply costs beside its bytes, as an estimate.
const PART_OVERHEAD: usize = 64;
/// Longest line in bytes: a length, a number, or an error's text.
const MAX_LINE_BYTES: usize = 64 << 10;
/// How deep replies may contain replies.
const MAX_DEPTH: usize = 16;
/// Bytes in one read.
const CHUNK: usize = 8 << 10;

/// The replies that are arriving on all connections of the process.
static ALL: ReplyBudget = ReplyBudget::new(MAX_ALL_BYTES);

/// A stream whose replies are limited.
pub(super) struct ReplyLimit<S> {
    stream: S,
    chunk: Box<[u8]>,
    ready: BytesMut,
    scanner: Scanner,
}

impl<S> ReplyLimit<S> {
    pub(super) fn new(stream: S) -> Self {
        let scanner = Scanner::new(MAX_VALUE_BYTES, MAX_REPLY_BYTES, &ALL);
        Self { stream, chunk: vec![0; CHUNK].into(), ready: BytesMut::new(), scanner }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ReplyLimit<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.ready.is_empty() {
            let mut chunk = ReadBuf::new(&mut this.chunk);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut chunk))?;
            if chunk.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.scanner.feed(chunk.filled(), &mut this.ready)?;
        }
        let length = this.ready.len().min(buffer.remaining());
        buffer.put_slice(&this.ready.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ReplyLimit<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Bytes that several connections share.
struct ReplyBudget {
    max: usize,
    taken: AtomicUsize,
}

impl ReplyBudget {
    const fn new(max: usize) -> Self {
        Self { max, taken: AtomicUsize::new(0) }
    }

    /// Takes the bytes if there are as many left.
    fn take(&self, bytes: usize) -> bool {
        let fits = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= self.max);
        self.taken.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Relaxed);
    }
}

/// Finds where replies and their parts begin and end, in RESP 2 and 3.
struct Scanner {
    max_value: usize,
    max_reply: usize,
    line: Vec<u8>,
    state: ParseState,
    /// For each array and the like that has begun, outermost first: how many parts are still to come.
    open: Vec<usize>,
    /// Bytes of the present reply so far.
    reply: usize,
    all: &'static ReplyBudget,
    /// The part of `reply` that is taken from `all`.
    taken: usize,
}

impl Drop for Scanner {
    fn drop(&mut self) {
        self.all.give_back(self.taken);
    }
}

/// What comes next.
enum ParseState {
    Line,
    /// So many bytes of a value, without the line break after it.
    Value(usize, ValueAction),
    /// This byte of the line break after a value.
    ValueEnd(u8, ValueAction),
}

#[derive(Clone, Copy)]
enum ValueAction {
    Pass,
    Skip,
}

impl Scanner {
    fn new(max_value: usize, max_reply: usize, all: &'static ReplyBudget) -> Self {
        let (line, open) = (Vec::new(), Vec::new());
        Self { max_value, max_reply, line, state: ParseState::Line, open, reply: 0, all, taken: 0 }
    }

    /// Counts bytes of the present reply.
    ///
    /// # Errors
    /// The reply, or the replies of all connections, are too large: what has too many bytes, and the limit.
    fn charge(&mut self, bytes: usize) -> Result<(), (&'static str, usize)> {
        let reply = self.reply.saturating_add(bytes);
        if reply > self.max_reply {
            return Err(("values together have", self.max_reply));
        }
        let counted = reply.saturating_sub(UNCOUNTED_BYTES);
        if counted > self.taken {
            if !self.all.take(counted - self.taken) {
                return Err(("replies of all connections together have", self.all.max));
            }
            self.taken = counted;
        }
        self.reply = reply;
        Ok(())
    }

    /// Counts a line that is a part of a reply, or many parts. There is no place for an error in such a reply.
    fn charge_line(&mut self, bytes: usize) -> io::Result<()> {
        self.charge(bytes)
            .map_err(|(what, limit)| broken(format_args!("{what} too many bytes, over the limit of {limit}")))
    }

    /// Reads a piece of the input, of any size, and appends to `output` what passes.
    fn feed(&mut self, mut input: &[u8], output: &mut BytesMut) -> io::Result<()> {
        while !input.is_empty() {
            input = match self.state {
                ParseState::Value(length, action) => {
                    let (value, others) = input.split_at(length.min(input.len()));
                    if matches!(action, ValueAction::Pass) {
                        output.extend_from_slice(value);
                    }
                    self.state = match length - value.len() {
                        0 => ParseState::ValueEnd(b'\r', action),
                        left => ParseState::Value(left, action),
                    };
                    others
                }
                ParseState::ValueEnd(expected, action) => {
                    let Some(others) = input.strip_prefix(&[expected]) else {
                        return Err(broken("a value is longer than its length"));
                    };
                    if matches!(action, ValueAction::Pass) {
                        output.extend_from_slice(&[expected]);
                    }
                    if expected == b'\r' {
                        self.state = ParseState::ValueEnd(b'\n', action);
                    } else {
                        self.state = ParseState::Line;
                        self.end_part();
                    }
                    others
                }
                ParseState::Line => {
                    let end = input.iter().position(|byte| *byte == b'\n').map_or(input.len(), |at| at + 1);
                    let (part, others) = input.split_at(end);
                    self.line.extend_from_slice(part);
                    if self.line.len() > MAX_LINE_BYTES {
                        return Err(broken("a line is too long"));
                    }
                    if self.line.ends_with(b"\n") {
                        self.line(output)?;
                        self.line.clear();
                    }
                    others
                }
            };
        }
        Ok(())
    }

    fn line(&mut self, output: &mut BytesMut) -> io::Result<()> {
        let content = self.line.strip_suffix(b"\r\n").filter(|content| !content.contains(&b'\r'));
        let Some(content) = content else {
            return Err(broken("a line has another line break than \\r\\n at its end"));
        };
        match content.first() {
            Some(b'$' | b'=' | b'!') => {
                let Some(length) = self.count()? else {
                    output.extend_from_slice(&self.line);
                    self.end_part();
                    return Ok(());
                };
                let charged = match length > self.max_value {
                    true => Err(("a value has", self.max_value)),
                    false => self.charge(length),
                };
                let Err((what, limit)) = charged else {
                    output.extend_from_slice(&self.line);
                    self.state = ParseState::Value(length, ValueAction::Pass);
                    return Ok(());
                };
                let error = format!("-TOOLARGE {what} {length} bytes or more, over the limit of {limit}\r\n");
                output.extend_from_slice(error.as_bytes());
                self.state = ParseState::Value(length, ValueAction::Skip);
            }
            Some(kind @ (b'*' | b'~' | b'>' | b'%' | b'|')) => {
                let parts = match kind {
                    b'*' | b'~' | b'>' => self.count()?,
                    // Maps have pairs. An attribute is followed by the reply that it belongs to.
                    kind => self
                        .count()?
                        .map(|pairs| pairs.saturating_mul(2).saturating_add(usize::from(*kind == b'|'))),
                };
                let parts = parts.unwrap_or_default();
                if self.open.len() >= MAX_DEPTH {
                    return Err(broken(format_args!("a reply is more than {MAX_DEPTH} deep")));
                }
                self.charge_line(parts.saturating_mul(PART_OVERHEAD))?;
                output.extend_from_slice(&self.line);
                if parts == 0 {
                    self.end_part();
                } else {
                    self.open.push(parts);
                }
            }
            _ => {
                self.charge_line(self.line.len())?;
                output.extend_from_slice(&self.line);
                self.end_part();
            }
        }
        Ok(())
    }

    /// The number of a line; `None` for a null, which strings and arrays of RESP 2 have.
    fn count(&self) -> io::Result<Option<usize>> {
        let content = self.line.strip_suffix(b"\r\n").unwrap_or_default();
        if let b"$-1" | b"*-1" = content {
            return Ok(None);
        }
        let digits = content.get(1..).and_then(|digits| std::str::from_utf8(digits).ok());
        let number = digits.and_then(|digits| digits.parse().ok());
        number.map(Some).ok_or_else(|| broken("a length is not a number"))
    }

    fn end_part(&mut self) {
        while let Some(left) = self.open.last_mut() {
            *left -= 1;
            if *left > 0 {
                return;
            }
            self.open.pop();
        }
        self.reply = 0;
        self.all.give_back(std::mem::take(&mut self.taken));
    }
}

fn broken(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not a valid reply of Redis: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scanner(max_value: usize, max_reply: usize) -> Scanner {
        static UNBOUNDED: ReplyBudget = ReplyBudget::new(usize::MAX);
        Scanner::new(max_value, max_reply, &UNBOUNDED)
    }

    /// The output for an input that arrives in pieces of this size.
    fn scan(input: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let (mut scanner, mut output) = (scanner(10, 25), BytesMut::new());
        for piece in input.chunks(piece) {
            scanner.feed(piece, &mut output)?;
        }
        assert!(scanner.open.is_empty() && scanner.line.is_empty() && scanner.reply == 0, "all has ended");
        Ok(output.to_vec())
    }

    #[test]
    fn what_is_in_bounds_passes_as_it_is() {
        let input =
            b"+OK\r\n$-1\r\n_\r\n:5\r\n$10\r\n\r\n$99*99\r\n\r\n$0\r\n\r\n-ERR no\r\n#t\r\n,1.5\r\n*-1\r\n";
        for piece in 1..=input.len() {
            assert_eq!(scan(input, piece).unwrap(), input, "{piece}");
        }
    }

    #[test]
    fn parts_are_counted() {
        let mut scanner = scanner(10, 10_000);
        let input = b"*2\r\n$1\r\na\r\n*2\r\n*0\r\n%1\r\n+k\r\n:1\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n|1\r\n+a\r\n:1\r\n+b\r\n";
        let mut output = BytesMut::new();
        for byte in input {
            scanner.feed(&[*byte], &mut output).unwrap();
        }
        assert_eq!(output, input[..]);
        assert!(scanner.open.is_empty() && scanner.reply == 0);
    }

    #[test]
    fn a_value_that_is_too_large_is_an_error_in_its_place_and_the_next_reply_is_untouched() {
        let input = b"$11\r\n01234567890\r\n+OK\r\n";
        for piece in 1..=input.len() {
            let output = String::from_utf8(scan(input, piece).unwrap()).unwrap();
            assert_eq!(output, "-TOOLARGE a value has 11 bytes or more, over the limit of 10\r\n+OK\r\n");
        }
    }

    #[test]
    fn values_that_are_too_large_together_are_an_error() {
        let mut scanner = scanner(10, 2 * PART_OVERHEAD + 15);
        let mut output = BytesMut::new();
        scanner.feed(b"*2\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n:1\r\n", &mut output).unwrap();
        let output = String::from_utf8(output.to_vec()).unwrap();
        assert!(output.starts_with("*2\r\n$10\r\n0123456789\r\n-TOOLARGE values together"), "{output}");
        assert!(output.ends_with("\r\n:1\r\n"), "{output}");
    }

    #[test]
    fn simple_lines_count_as_values_do() {
        let line = [&b"+"[..], &[b'x'; 1000], b"\r\n"].concat();
        let input = [&b"*1000\r\n"[..], &line.repeat(1000)].concat();
        let (mut scanner, mut output) = (scanner(MAX_VALUE_BYTES, 512 << 10), BytesMut::new());
        let error = scanner.feed(&input, &mut output).unwrap_err();
        assert!(error.to_string().contains("over the limit of 524288"), "{error}");
        assert!(output.len() < 512 << 10, "{}", output.len());
    }

    #[test]
    fn the_replies_of_all_connections_have_a_bound_together() {
        static ALL: ReplyBudget = ReplyBudget::new(3 << 20);
        let value = |bytes: usize| [format!("${bytes}\r\n").as_bytes(), &vec![b'v'; bytes], b"\r\n"].concat();
        let one = value(1 << 20);
        let unfinished = [&b"*4\r\n"[..], &one].concat();
        let mut connections: Vec<_> =
            (0..4).map(|_| Scanner::new(MAX_VALUE_BYTES, MAX_REPLY_BYTES, &ALL)).collect();
        let is_refused = |connection: &mut Scanner| {
            let mut output = BytesMut::new();
            connection.feed(&unfinished, &mut output).unwrap();
            output.windows(9).any(|text| text == b"-TOOLARGE")
        };
        let refused: Vec<_> = connections.iter_mut().map(is_refused).collect();
        assert_eq!(refused, [false, false, false, true]);
        // A connection that ends gives its bytes back, and so does a reply that ends.
        connections.truncate(2);
        let mut output = BytesMut::new();
        connections[0].feed(&one.repeat(3), &mut output).unwrap();
        connections[1].feed(&one.repeat(3), &mut output).unwrap();
        connections[1].feed(b"*1\r\n:1\r\n", &mut output).unwrap();
        assert_eq!(ALL.taken.load(Relaxed), 0);
    }

    #[test]
    fn what_is_no_reply_ends_the_connection() {
        for input in [&b"$x\r\n"[..], b"*1000000000\r\n", b"$?\r\n", &[b'+'; 70 << 10]] {
            assert!(scan(input, 4096).is_err(), "{:?}", &input[..input.len().min(20)]);
        }
        let deep = b"*1\r\n".repeat(MAX_DEPTH + 1);
        assert!(scanner(10, 1 << 20).feed(&deep, &mut BytesMut::new()).is_err());
    }

    /// The client ends a line at `\r\n` only. It would keep these lines as one, while their bytes no longer count.
    #[test]
    fn a_line_has_no_other_line_break_than_the_one_at_its_end() {
        let growing = [&b"+"[..], &[&[b'x'; 1000][..], b"\n"].concat().repeat(1000)].concat();
        for input in
            [&growing[..], b"+a\n", b"+a\rb\r\n", b"+a\r\r\n", b":1\n", b"$1\na\n", b"*1\n:1\n", b"\n"]
        {
            for piece in [1, 4096] {
                let mut output = BytesMut::new();
                let mut scanner = scanner(MAX_VALUE_BYTES, MAX_REPLY_BYTES);
                let fed = input.chunks(piece).try_for_each(|piece| scanner.feed(piece, &mut output));
                let error = fed.unwrap_err().to_string();
                assert!(
                    error.contains("a line has another line break"),
                    "{:?}: {error}",
                    &input[..input.len().min(20)]
                );
                assert!(output.is_empty());
            }
        }
    }

    /// The client would wait for `usize::MAX` bytes, and keep all that arrive.
    #[test]
    fn only_strings_and_arrays_of_resp_2_have_a_length_of_minus_one() {
        for kind in "=!~>%|".chars() {
            let error = scan(format!("{kind}-1\r\n").as_bytes(), 64).unwrap_err();
            assert!(error.to_string().contains("a length is not a number"), "{kind}: {error}");
        }
        for length in ["-2", "-0", "- 1", "", " 1", "1 "] {
            for kind in ["$", "*"] {
                assert!(scan(format!("{kind}{length}\r\n").as_bytes(), 64).is_err(), "{kind}{length}");
            }
        }
    }

    #[test]
    fn a_value_is_as_long_as_its_length() {
        for input in [
            &b"$1\r\nab\r\n"[..],
            b"$1\r\na\n\n",
            b"$1\r\na\r\r",
            b"$0\r\n+OK\r\n",
            b"$11\r\n0123456789012\r\n",
        ] {
            for piece in 1..=input.len() {
                let error = scan(input, piece).unwrap_err().to_string();
                assert!(error.contains("a value is longer than its length"), "{input:?}: {error}");
            }
        }
    }

    /// Whether a reply has ended at the last byte, and the next one has not begun.
    fn is_between_replies(scanner: &Scanner) -> bool {
        matches!(scanner.state, ParseState::Line) && scanner.line.is_empty() && scanner.open.is_empty()
    }

    /// Checks that the scanner ends each reply where the client does, up to the first byte that one of them refuses. Returns
    /// the number of bytes that both accept.
    fn end_where_the_client_does(input: &[u8]) -> usize {
        let (mut scanner, mut start) = (scanner(1 << 20, 1 << 20), 0);
        for (at, byte) in input.iter().enumerate() {
            if scanner.feed(&[*byte], &mut BytesMut::new()).is_err() {
                return at;
            }
            let of_client = match redis::parse_redis_value(&input[start..=at]) {
                Ok(_) => true,
                Err(error) if error.is_io_error() => false,
                Err(_) => return at,
            };
            let read = String::from_utf8_lossy(&input[..=at]);
            assert_eq!(is_between_replies(&scanner), of_client, "{read:?}");
            if of_client {
                assert_eq!(scanner.reply, 0, "{read:?}");
                start = at + 1;
            }
        }
        input.len()
    }

    #[test]
    fn replies_of_each_kind_end_where_the_client_ends_them() {
        let input = b"+OK\r\n-ERR no\r\n:5\r\n$-1\r\n$0\r\n\r\n$2\r\n\r\n\r\n*-1\r\n*0\r\n*2\r\n:1\r\n*1\r\n$1\r\na\r\n_\r\n#t\r\n,1.5\r\n\
              (12\r\n=5\r\ntxt:a\r\n!5\r\nERR a\r\n%1\r\n+k\r\n:1\r\n~2\r\n:1\r\n:2\r\n|1\r\n+a\r\n:1\r\n+b\r\n>2\r\n+message\r\n:1\r\n>0\r\n\
              %0\r\n~0\r\n|0\r\n:1\r\n";
        assert_eq!(end_where_the_client_does(input), input.len());
    }

    proptest! {
        #[test]
        fn random_replies_end_where_the_client_ends_them(
            parts in prop::collection::vec(
                prop_oneof![
                    8 => prop::sample::select(vec![
                        "+a\r\n", ":1\r\n", "_\r\n", "#t\r\n", ",1\r\n", "(1\r\n", "-ERR a\r\n", "$1\r\na\r\n",
                        "$0\r\n\r\n", "=5\r\ntxt:a\r\n", "!1\r\na\r\n", "*2\r\n", "%1\r\n", "~1\r\n", "|1\r\n",
                        ">2\r\n+a\r\n", "*0\r\n", "$-1\r\n", "*-1\r\n",
                    ]).prop_map(str::to_owned),
                    1 => "[-+:$*%~|>=!_#,(]",
                    1 => "-?[0-9]{1,2}",
                    1 => "[\r\n \u{b}\u{a0}ax]",
                    1 => Just("\r\n".to_owned()),
                ],
                0..12,
            ),
        ) {
            end_where_the_client_does(parts.concat().as_bytes());
        }

        #[test]
        fn it_never_passes_on_more_than_it_gets_and_never_panics(
            input in prop::collection::vec(prop_oneof![
                Just(b'$'), Just(b'*'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'9'), Just(b'-'), any::<u8>()
            ], 0..300),
            piece in 1..20usize,
        ) {
            let (mut scanner, mut output) = (scanner(10, 25), BytesMut::new());
            let _ = input.chunks(piece).try_for_each(|piece| scanner.feed(piece, &mut output));
            // An error's text may be longer than the value that it replaces.
            let errors = input.iter().filter(|byte| **byte == b'$').count();
            prop_assert!(output.len() <= input.len() + errors * 120);
        }
    }
}
