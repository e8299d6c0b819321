//! Percent-encoding (RFC 3986, 2.1). Decoding follows Starlette; encoding is unambiguous for every client.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::text;

/// All characters but the unreserved ones (RFC 3986, 2.3), which have no special meaning in a path.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The characters that end a URI reference, or the header field that it is in. `%` is not one of them, because the
/// query is already encoded.
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

/// Decodes `%XX` as Python's `urllib.parse.unquote` does: a `%` without two hexadecimal digits stays, and invalid
/// UTF-8 becomes U+FFFD.
pub fn decode(text: &str) -> Cow<'_, str> {
    if text::contains(text, b'%') {
        percent_decode_str(text).decode_utf8_lossy()
    } else {
        Cow::Borrowed(text)
    }
}

/// Decodes a name or value of a query: first `+` to a space, then as [`decode`].
pub fn decode_form(text: &str) -> Cow<'_, str> {
    if text::contains(text, b'+') {
        Cow::Owned(decode(&text.replace('+', " ")).into_owned())
    } else {
        decode(text)
    }
}

/// Encodes a path segment: all but the unreserved characters.
pub fn encode_segment(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, RESERVED).into()
}

/// Encodes what must not appear in a header field's URI reference. The client's own encoding stays as it is.
pub fn encode_query(text: &str) -> Cow<'_, str> {
    utf8_percent_encode(text, OUTSIDE_QUERY).into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, decode_form, encode_query, encode_segment};

    #[test]
    fn decodes_as_python_does() {
        for (encoded, decoded) in [
            ("a+b", "a+b"),
            ("%41%2fb", "A/b"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("%25%34%31", "%41"),
            ("%C3%A9", "é"),
            ("%FF", "\u{fffd}"),
            ("%E2%82", "\u{fffd}"),
        ] {
            assert_eq!(decode(encoded), decoded);
        }
        assert_eq!(decode_form("a+b%2Bc"), "a b+c");
    }

    proptest! {
        #[test]
        fn a_segment_survives(text: String) {
            let encoded = encode_segment(&text);
            prop_assert_eq!(decode(&encoded), text.as_str());
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
        }

        #[test]
        fn a_query_means_the_same_and_ends_nothing(text: String) {
            let encoded = encode_query(&text);
            prop_assert_eq!(decode(&encoded), decode(&text));
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_graphic() && !b"\"#<>\\".contains(&b)));
        }
    }
}
