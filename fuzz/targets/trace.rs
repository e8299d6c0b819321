//! Lines: a `traceparent`, and any number of `tracestate`. What is passed on is what was said, or nothing.
#![no_main]

use fuzz::trace::passed_on;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::{Corpus, fuzz_target};

fuzz_target!(|text: &str| -> Corpus {
    let mut lines = text.split('\n').map(HeaderValue::from_str);
    let Some(Ok(parent)) = lines.next() else { return Corpus::Reject };
    let mut headers = HeaderMap::new();
    headers.append("traceparent", parent.clone());
    for state in lines.flatten() {
        headers.append("tracestate", state);
    }
    if let Some(passed) = passed_on(&headers) {
        let (said, parent) = (passed["traceparent"].to_str().unwrap(), parent.as_bytes());
        // Version and flags are our own; what a later version says behind them may be anything that a header may hold.
        let identity = std::str::from_utf8(&parent[3..53]).unwrap();
        assert_eq!((said.len(), &said[..3], &said[3..53]), (55, "00-", identity), "{parent:?}");
        assert!(!parent.starts_with(b"ff"), "{parent:?}");
        assert!(
            said[3..35].bytes().any(|b| b != b'0') && said[36..52].bytes().any(|b| b != b'0'),
            "{parent:?}"
        );
        if let Some(state) = passed.get("tracestate") {
            assert!((1..=512).contains(&state.len()), "{state:?}");
            assert!(text.contains(state.to_str().unwrap().split(',').next().unwrap()), "{state:?}");
        }
    }
    Corpus::Keep
});
