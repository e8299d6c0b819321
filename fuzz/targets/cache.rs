//! Input: the fields of a response and of the request for it, with an empty line between them, and a body. Whatever they are,
//! the cache answers another client only with what is for all, as a reader finds it who knows nothing of the cache.
#![no_main]

use std::{
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use fuzz::fields::{fields, naive_members};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use wasi_http_host_cache::{
    Answer, Ask, Asked, Cache, Purge, Received, Settings, Space, Turn, conditional, date,
    freshness::{Freshness, initial_age},
    targeted::{Applicable, CDN_CACHE_CONTROL},
};

const CAPACITY: usize = 1 << 20;

/// The members of all lines of a field.
fn members(headers: &HeaderMap, name: HeaderName) -> Vec<Vec<u8>> {
    headers.get_all(name).iter().flat_map(|line| naive_members(line.as_bytes())).collect()
}

/// Whether the response is plainly not for other clients. A field with quoted strings is left to its own target.
fn is_for_one(response: &HeaderMap, request: &HeaderMap) -> bool {
    let has_quotes = |name| response.get_all(name).iter().any(|line| line.as_bytes().contains(&b'"'));
    if has_quotes(header::CACHE_CONTROL) || response.contains_key(CDN_CACHE_CONTROL) {
        return false;
    }
    let directives = members(response, header::CACHE_CONTROL);
    let has = |name: &[u8]| directives.iter().any(|member| member == name);
    let begins = |name: &[u8]| directives.iter().any(|member| member.starts_with(name));
    let is_shared = has(b"public") || begins(b"public=") || begins(b"s-maxage");
    has(b"private")
        || has(b"no-store") && !begins(b"must-understand")
        || members(response, header::VARY).iter().any(|name| name == b"*")
        || members(request, header::CACHE_CONTROL).iter().any(|member| member == b"no-store")
        || request.contains_key(header::AUTHORIZATION) && !is_shared && !begins(b"must-revalidate")
        || response.contains_key(header::SET_COOKIE)
            && !is_shared
            && !begins(b"no-cache=")
            && !begins(b"private=")
}

fn ask(space: &Arc<Space>, headers: &HeaderMap, now: Instant) -> Ask {
    let asked = Asked {
        method: &Method::GET,
        https: false,
        authority: "x",
        path: "/",
        headers,
        is_authenticated: false,
        has_body: false,
    };
    space.ask(&asked, now, Turn::First)
}

/// A response of the cache is well formed, and says no more than the stored one.
fn check_answer(answer: &Answer, response: &HeaderMap, body: &[u8]) {
    let Answer { status, headers, body: sent } = answer;
    match status.as_u16() {
        200 => assert_eq!(sent, body),
        206 => assert!(!sent.is_empty() && sent.len() <= body.len()),
        304 | 416 => assert!(sent.is_empty()),
        _ => panic!("{status}"),
    }
    for name in ["connection", "transfer-encoding", "upgrade", "keep-alive", "content-length"] {
        assert!(!headers.contains_key(name), "{name}: {headers:?}");
    }
    for name in headers.keys().filter(|name| {
        !["age", "date", "cache-status", "content-range", "x-request-id"].contains(&name.as_str())
    }) {
        assert!(headers.get_all(name).iter().eq(response.get_all(name).iter()), "{name}: {headers:?}");
    }
    assert!(headers.contains_key(header::AGE) && headers.contains_key(header::DATE));
}

/// What is always validated, or forbids it, is never reused while it is stale.
fn check_freshness(response: &HeaderMap) {
    let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    let applicable = Applicable::of(response);
    let Some(freshness) = Freshness::of(StatusCode::OK, response, &applicable, now, true) else { return };
    let age = initial_age(response, now, Duration::ZERO);
    if !freshness.allows_stale {
        assert!(!freshness.may_refresh_later(age) && !freshness.may_replace_error(age));
    }
    assert!(!(freshness.always_validates && freshness.is_fresh(age)));
}

fuzz_target!(|input: &[u8]| {
    let (response, rest) = fields(input);
    let (request, body) = fields(rest);
    let wall = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    check_freshness(&response);
    for value in request.values() {
        if let Some(read) = date::parse(value.as_bytes()) {
            // In the format of the standard, a date reads as itself.
            assert_eq!(date::parse(httpdate::fmt_http_date(read).as_bytes()), Some(read));
        }
    }
    if conditional::is_for_origin(&request) {
        return;
    }

    let cache = Cache::new(Settings { capacity: CAPACITY, request_directives: false, set_cookie: false });
    let (space, now) = (cache.space("component"), Instant::now());
    let Ask::Fetch(fetch) = ask(&space, &request, now) else { panic!("nothing is stored") };
    match fetch.received(StatusCode::OK, &mut response.clone(), now, wall) {
        Received::Fill(filling) => {
            filling.whole(body);
        }
        Received::Pass => {}
        Received::Answer(..) => panic!("nothing is stored"),
    }
    let statistics = cache.statistics();
    assert!(statistics.used <= CAPACITY && statistics.used >= statistics.bytes);

    // Another client, with the same selecting fields and without those that tell who it is.
    let mut other = request.clone();
    for name in [header::AUTHORIZATION, header::CACHE_CONTROL] {
        other.remove(name);
    }
    if is_for_one(&response, &request) {
        assert_eq!(statistics.entries, 0, "{response:?} to {request:?} is stored");
    }
    let mut later = now;
    for _ in 0..3 {
        match ask(&space, &other, later) {
            Ask::Answer(answer, _) | Ask::Refresh(answer, _) => check_answer(&answer, &response, body),
            _ => {}
        }
        later += Duration::from_secs(30);
    }
    // A component that fails brings back only what may replace an error.
    if let Ask::Fetch(fetch) = ask(&space, &other, later)
        && let Some(answer) = fetch.failed(later)
    {
        let applicable = Applicable::of(&response).directives;
        assert!(applicable.stale_if_error.is_some() && !applicable.must_revalidate && !applicable.no_cache);
        check_answer(&answer, &response, body);
    }
    cache.purge(&Purge::default());
    assert_eq!(cache.statistics().used, 0, "everything that was charged is given back");
});
