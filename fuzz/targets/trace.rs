//! Input: a `traceparent`, and further lines with `tracestate` (W3C Trace Context). The host passes on what it received, or nothing.
#![no_main]

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::{Corpus, fuzz_target};
use wasi_http_host_telemetry::trace::Origin;

fuzz_target!(|text: &str| -> Corpus {
    let mut lines = text.split('\n').map(HeaderValue::from_str);
    let Some(Ok(parent)) = lines.next() else { return Corpus::Reject };
    let mut headers = HeaderMap::new();
    headers.append("traceparent", parent.clone());
    for state in lines.flatten() {
        headers.append("tracestate", state);
    }
    if let Some(passed) = passed_on(&headers) {
        let (sent, parent) = (passed["traceparent"].to_str().unwrap(), parent.as_bytes());
        // The host writes version and flags itself. A later version may have any text after the flags.
        let identity = std::str::from_utf8(&parent[3..53]).unwrap();
        assert_eq!((sent.len(), &sent[..3], &sent[3..53]), (55, "00-", identity), "{parent:?}");
        assert!(!parent.starts_with(b"ff"), "{parent:?}");
        assert!(
            sent[3..35].bytes().any(|b| b != b'0') && sent[36..52].bytes().any(|b| b != b'0'),
            "{parent:?}"
        );
        if let Some(state) = passed.get("tracestate") {
            assert!((1..=512).contains(&state.len()), "{state:?}");
            assert!(text.contains(state.to_str().unwrap().split(',').next().unwrap()), "{state:?}");
        }
    }
    Corpus::Keep
});

/// Returns the headers that the host passes on, if it accepts these.
fn passed_on(headers: &HeaderMap) -> Option<HeaderMap> {
    let mut passed = HeaderMap::new();
    Origin::extract(headers)?.inject(&mut passed);
    Some(passed)
}
