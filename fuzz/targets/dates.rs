//! Input: HTTP dates (RFC 9110, section 5.6.7) and times in UTC, alone and in the headers that tell how long to wait. A wait stays within its limits.
#![no_main]

use std::time::Duration;

use gists::{
    github::{
        answer::{self, Answer, MAX_WAIT, UpstreamFailure},
        http_date,
    },
    ports::FetchResponse,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for seconds in [http_date::parse(text), http_date::parse_utc(text)].into_iter().flatten() {
        assert!(seconds < 253_402_300_801, "{text:?} is after the year 9999");
    }
    let headers = ["retry-after", "x-ratelimit-reset", "x-ratelimit-remaining", "date", "link", "etag"];
    let values: Vec<&str> = text.split('\n').chain(std::iter::repeat(text)).take(headers.len()).collect();
    let headers =
        headers.into_iter().map(str::to_owned).zip(values.into_iter().map(|v| v.as_bytes().to_vec()));
    let headers: Vec<_> = headers.collect();
    for status in [200, 403, 429, 304, 500] {
        let response = FetchResponse { status, headers: headers.clone(), body: text.as_bytes().to_vec() };
        for now in [0, 1_700_000_000, u64::MAX / 1_000_000_000] {
            if let Answer::Failed(UpstreamFailure::RateLimited { wait: Some(wait) }) =
                answer::classify(&response, Duration::from_secs(now))
            {
                assert!((1..=MAX_WAIT).contains(&wait), "{wait}");
            }
        }
        let _ = (answer::remaining(&response), answer::relations(&response), answer::validator(&response));
    }
});
