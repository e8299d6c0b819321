//! Input: lines of `Cache-Groups`, which are also read as `Cache-Group-Invalidation`. Groups are bounded, read as themselves once
//! they are written down, and an invalidation that cannot be read invalidates everything.
#![no_main]

use std::{
    sync::Arc,
    time::{Duration, Instant, UNIX_EPOCH},
};

use fuzz::fields::values;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use libfuzzer_sys::fuzz_target;
use wasi_http_host_cache::{
    Ask, Asked, Cache, Fetch, Received, Settings, Space, Turn,
    groups::{CACHE_GROUP_INVALIDATION, CACHE_GROUPS, MAX_GROUPS, MAX_NAME_BYTES, groups},
};

fn with(name: &HeaderName, lines: &[HeaderValue]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(name.clone(), line.clone());
    }
    headers
}

fn ask(space: &Arc<Space>, method: &Method, path: &str, now: Instant) -> Option<Box<Fetch>> {
    let headers = HeaderMap::new();
    let asked = Asked {
        method,
        https: false,
        authority: "x",
        path,
        headers: &headers,
        is_authenticated: false,
        has_body: false,
    };
    match space.ask(&asked, now, Turn::Alone) {
        Ask::Fetch(fetch) => Some(fetch),
        _ => None,
    }
}

fn answer(fetch: Box<Fetch>, mut headers: HeaderMap, now: Instant) {
    let wall = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    if let Received::Fill(filling) = fetch.received(StatusCode::OK, &mut headers, now, wall) {
        filling.whole(b"body");
    }
}

fuzz_target!(|input: &[u8]| {
    let lines = values(input);
    let read = groups(&with(&CACHE_GROUPS, &lines), &CACHE_GROUPS);
    assert_eq!(read, groups(&with(&CACHE_GROUP_INVALIDATION, &lines), &CACHE_GROUP_INVALIDATION));
    if let Ok(names) = &read {
        assert!(names.len() <= MAX_GROUPS && names.iter().all(|name| name.len() <= MAX_NAME_BYTES));
        let quoted = |name: &String| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
        let written = names.iter().map(quoted).collect::<Vec<_>>().join(", ");
        if !names.is_empty() {
            let written = HeaderValue::try_from(written).expect("groups are printable");
            assert_eq!(groups(&with(&CACHE_GROUPS, &[written]), &CACHE_GROUPS).as_ref(), Ok(names));
        }
    }

    // A stored response that is in one of the groups, and one that is in another group.
    let cache = Cache::new(Settings { capacity: 1 << 20, request_directives: false, set_cookie: false });
    let (space, now) = (cache.space("component"), Instant::now());
    let store = |path: &str, groups: &HeaderMap| {
        let mut response = groups.clone();
        response.insert(header::CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        answer(ask(&space, &Method::GET, path, now).expect("nothing is stored"), response, now);
        ask(&space, &Method::GET, path, now).is_none()
    };
    let is_stored = store("/grouped", &with(&CACHE_GROUPS, &lines));
    let other = HeaderValue::from_static("\"another group that the input does not name\"");
    assert!(store("/other", &with(&CACHE_GROUPS, &[other])));
    assert!(!is_stored || read.is_ok(), "groups that cannot be read cannot be invalidated: {lines:?}");

    let delete = ask(&space, &Method::DELETE, "/delete", now).expect("the method is unsafe");
    answer(delete, with(&CACHE_GROUP_INVALIDATION, &lines), now);
    let remains = |path| ask(&space, &Method::GET, path, now).is_none();
    match &read {
        Ok(names) => {
            assert!(names.is_empty() || !remains("/grouped"), "{lines:?}");
            assert!(!is_stored || !names.is_empty() || remains("/grouped"), "{lines:?}");
            assert!(remains("/other"), "{lines:?}");
        }
        Err(_) => assert!(!remains("/grouped") && !remains("/other"), "{lines:?}"),
    }
});
