//! Percent-encoding: reading as Starlette does, and writing what no client can read as anything else.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but RFC 3986's unreserved characters: what remains has no meaning of its own in a path.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What would end a URI reference, or the header that it stands in. `%` stays: the query is already encoded.
const OUTSIDE_QUERY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Decodes `%XX`. A `%` that starts no such triple stays, invalid UTF-8 becomes U+FFFD: `urllib.parse.unquote`.
pub fn decode(text: &str) -> Cow<'_, str> {
    if text.contains('%') { percent_decode_str(text).decode_utf8_lossy() } else { Cow::Borrowed(text) }
}

/// Decodes a form's name or value: `+` is a space, then as [`decode`].
pub fn decode_form(text: &str) -> Cow<'_, str> {
    if text.contains('+') { Cow::Owned(decode(&text.replace('+', " ")).into_owned()) } else { decode(text) }
}

/// Encodes one path segment.
pub fn encode_segment(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, RESERVED).into()
}

/// Makes a query that was asked fit to stand in a header of ours: nothing that a reader could take for the end of it.
pub fn encode_query(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, OUTSIDE_QUERY).into()
}
