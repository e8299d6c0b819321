//! Input: values of `If-None-Match` and `Accept`. An entity tag matches in every list that contains it, and in no other.
#![no_main]

use gists::response::{
    accept::error_form,
    conditional::{etag, if_none_match},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = error_form(Some(text));
    let ours = etag([7; 16]);
    let opaque = ours.trim_start_matches("W/");
    if if_none_match(text, &ours) {
        assert!(text.trim() == "*" || text.contains(opaque), "{text:?}");
    }
    // The tag matches whatever follows, because a list is read from its beginning.
    assert!(if_none_match(&format!("{ours}, {text}"), &ours), "{text:?}");
});
