//! Input: a text to encode. Decoding gives the text again, and the encoded text has no character with a meaning of its own.
#![no_main]

use gists::request::percent::{decode, decode_form, encode_query, encode_segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let segment = encode_segment(text);
    assert_eq!(decode(&segment), text);
    assert!(segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~%".contains(&b)));
    let query = encode_query(text);
    assert_eq!(decode(&query), decode(text));
    assert!(query.bytes().all(|b| b.is_ascii_graphic() && !b"\"#<>\\".contains(&b)));
    assert!(!decode_form(text).contains('+') || text.contains("%2B") || text.contains("%2b"));
});
