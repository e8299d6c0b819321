//! Input: the fields of a response and a request, as a component and a client wrote them: lines `name: value` before an empty line are the
//! response's. Whatever they are, the readers of the response cache keep their promises.
#![no_main]

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use wasi_http_host_cache::{
    conditional, date,
    directives::{Directives, MAX_SECONDS},
    freshness::{Freshness, initial_age},
    groups::{self, MAX_GROUPS, MAX_NAME_BYTES},
    range::{Requested, requested},
    targeted::Applicable,
    vary::Selection,
};

/// The fields, and the rest after an empty line.
fn fields(text: &[u8]) -> (HeaderMap, &[u8]) {
    let (mut headers, mut rest) = (HeaderMap::new(), text);
    while !rest.is_empty() {
        let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(value))
        {
            headers.append(name, value);
        }
    }
    (headers, rest)
}

fuzz_target!(|input: &[u8]| {
    let (response, rest) = fields(input);
    let (request, body) = fields(rest);
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);

    // A directive that forbids is found wherever it stands as a member of its own, and times are bounded.
    let control = |value: &HeaderValue| Directives::parse([value]);
    for value in response.values() {
        let directives = control(value);
        for seconds in
            [directives.max_age, directives.s_maxage, directives.stale_if_error].into_iter().flatten()
        {
            assert!(seconds <= MAX_SECONDS);
        }
        if let Ok(with) = HeaderValue::from_bytes(&[b"no-store, ", value.as_bytes()].concat()) {
            assert!(control(&with).no_store);
        }
        // The order of lines makes no difference.
        let other = HeaderValue::from_static("max-age=7, private");
        assert_eq!(Directives::parse([value, &other]).max_age, Directives::parse([&other, value]).max_age);
        assert!(Directives::parse([value, &other]).private);
    }

    // What is always validated, or forbids it, is never reused while it is stale.
    let applicable = Applicable::of(&response);
    if let Some(freshness) = Freshness::of(StatusCode::OK, &response, &applicable, now, true) {
        let age = initial_age(&response, now, Duration::ZERO);
        if !freshness.allows_stale {
            assert!(!freshness.may_refresh_later(age) && !freshness.may_replace_error(age));
        }
        assert!(!(freshness.always_validates && freshness.is_fresh(age)));
    }

    // A response answers the request that it was made for, and one with another value of a selecting field does not match.
    if let Some(selection) = Selection::new(&response, &request) {
        assert!(selection.matches(&request));
        for name in
            response.get_all("vary").iter().filter_map(|value| HeaderName::from_bytes(value.as_bytes()).ok())
        {
            let mut other = request.clone();
            other.append(name, HeaderValue::from_static("another"));
            assert!(!selection.matches(&other));
        }
    }

    for value in request.values() {
        if let Requested::Part(part) = requested(value.as_bytes(), body.len()) {
            assert!(part.start < part.end && part.end <= body.len());
        }
        if let Some(read) = date::parse(value.as_bytes()) {
            // In the format of the standard, a date reads as itself.
            assert_eq!(date::parse(httpdate::fmt_http_date(read).as_bytes()), Some(read));
        }
    }
    for name in [groups::CACHE_GROUPS, groups::CACHE_GROUP_INVALIDATION] {
        let groups = groups::groups(&response, &name).unwrap_or_default();
        assert!(groups.len() <= MAX_GROUPS && groups.iter().all(|group| group.len() <= MAX_NAME_BYTES));
    }
    let _ = conditional::has_current(&request, &response, now);
    let _ = conditional::may_have_part(&request, &response);
});
