//! Stale responses: validation, and reuse where the component allows it.

use super::*;

#[test]
fn a_304_makes_the_stored_response_fresh_with_its_fields() {
    let mut bench = Bench::new();
    let stored = [
        ("cache-control", "max-age=2"),
        ("etag", "\"a\""),
        ("content-encoding", "x"),
        ("kept", "1"),
        ("changed", "1"),
    ];
    bench.get("/", &stored, "body");
    bench.pass(3);
    let fetch = bench.fetch("/", &[("range", "bytes=0-1"), ("other", "1")]);
    let mut headers = header_map(&[("range", "bytes=0-1"), ("other", "1")]);
    fetch.prepare(&mut headers);
    assert_eq!(headers, header_map(&[("other", "1"), ("if-none-match", "\"a\"")]));
    let update = [
        ("cache-control", "max-age=9"),
        ("changed", "2"),
        ("content-encoding", "y"),
        ("content-length", "99"),
        ("age", "4"),
    ];
    assert_eq!(bench.receive(fetch, 304, &update, ""), Got::Cached(206, "bo".to_owned()));
    bench.pass(4);
    let headers = bench.headers("/", &[]);
    for (name, value) in
        [("age", "8"), ("kept", "1"), ("changed", "2"), ("content-encoding", "x"), ("etag", "\"a\"")]
    {
        assert_eq!(field(&headers, name), value, "{name}");
    }
    assert_eq!(field(&headers, "date"), bench.date(-4), "the date is that of the 304");
    bench.pass(1);
    assert_eq!(bench.has("/"), None);
}

#[test]
fn the_clients_own_condition_is_answered_after_the_validation() {
    let mut bench = Bench::new();
    let modified = bench.date(-3000);
    bench.get("/", &[("cache-control", "max-age=2"), ("last-modified", &modified)], "body");
    bench.pass(3);
    let fetch = bench.fetch("/", &[("if-modified-since", &modified)]);
    assert_eq!(bench.receive(fetch, 304, &[], ""), Got::Cached(304, String::new()));
}

#[test]
fn a_304_to_the_clients_condition_goes_to_the_client() {
    let mut bench = Bench::new();
    let request = [("if-none-match", "\"a\"")];
    assert_eq!(bench.exchange(("GET", "/", &request), (304, &[], "")), Got::Forwarded);
    // A stored response without a validator cannot be validated.
    bench.get("/", &[("cache-control", "max-age=2")], "body");
    bench.pass(3);
    assert_eq!(bench.exchange(("GET", "/", &request), (304, &[], "")), Got::Forwarded);
}

#[test]
fn a_new_response_replaces_the_stale_one_or_removes_it() {
    for (status, control, remains) in [
        (200, "max-age=60", Some("new")),
        (200, "no-store", None),
        (404, "no-store", None),
        (500, "no-store", None),
    ] {
        let mut bench = Bench::new();
        bench.get("/", &[("cache-control", "max-age=2"), ("etag", "\"a\"")], "old");
        bench.pass(3);
        let got = bench.exchange(("GET", "/", &[]), (status, &[("cache-control", control)], "new"));
        assert_eq!(got, Got::Forwarded);
        assert_eq!(bench.has("/").as_deref(), remains, "{status} {control}");
        // A 500 says nothing about the stored response.
        let entries = usize::from(remains.is_some() || status == 500);
        assert_eq!(bench.cache.statistics().entries, entries, "{status} {control}");
    }
}

/// An answer for one client says nothing about the response for all.
#[test]
fn an_authenticated_request_removes_nothing() {
    let mut bench = Bench::new();
    bench.get("/", &[("cache-control", "max-age=2, stale-if-error=60")], "old");
    bench.pass(3);
    let known = [("authorization", "Basic x")];
    let got = bench.exchange(("GET", "/", &known), (200, &[("cache-control", "max-age=60")], "own"));
    assert_eq!(got, Got::Forwarded);
    assert_eq!(bench.exchange(("GET", "/", &[]), (503, &[], "")), cached("old"));
}

#[test]
fn a_304_that_forbids_to_store_is_followed() {
    for control in ["no-store", "private"] {
        let mut bench = Bench::new();
        bench.get("/", &[("cache-control", "max-age=2"), ("etag", "\"a\"")], "body");
        bench.pass(3);
        let got = bench.exchange(("GET", "/", &[]), (304, &[("cache-control", control)], ""));
        assert_eq!((got, bench.cache.statistics().entries), (cached("body"), 0), "{control}");
    }
}

/// Downstream caches must not take the response for one that may be stored, and a session must not end.
#[test]
fn the_client_gets_the_fields_of_a_304_that_are_not_stored() {
    for (update, name, value, remains) in [
        (&[("cache-control", "private, max-age=9")][..], "cache-control", "private, max-age=9", false),
        (&[("cache-control", "max-age=9"), ("set-cookie", "id=1")], "set-cookie", "id=1", false),
        (&[("cache-control", "max-age=9, private=\"a\""), ("a", "1")], "a", "1", true),
        (&[("cache-control", "no-store"), ("cache-status", "x; hit"), ("connection", "a")], "a", "-", false),
    ] {
        let mut bench = Bench::new();
        bench.get("/", &[("cache-control", "max-age=2"), ("etag", "\"a\"")], "body");
        bench.pass(3);
        let fetch = bench.fetch("/", &[]);
        let mut headers = header_map(update);
        let received = fetch.received(StatusCode::NOT_MODIFIED, &mut headers, bench.now, bench.wall);
        let Received::Answer(answer, Outcome::Validated) = received else { panic!() };
        assert_eq!((got(&answer), field(&answer.headers, name)), (cached("body"), value), "{update:?}");
        assert_eq!(field(&answer.headers, "age"), "0", "{update:?}");
        let status = answer.headers.get_all("cache-status").iter().next_back().unwrap();
        assert_eq!(status, "wasi-http-host; fwd=stale; fwd-status=304", "{update:?}");
        assert_eq!(bench.has("/").is_some(), remains, "{update:?}");
        if remains {
            assert_eq!(field(&bench.headers("/", &[]), name), "-", "others do not get the field");
        }
    }
}

/// RFC 9111, 4.3.4: a 304 with another entity tag must not update the stored response.
#[test]
fn a_304_about_another_response_updates_nothing() {
    for (stored, not_modified, updates) in [
        ("\"a\"", "\"a\"", true),
        ("W/\"a\"", "\"a\"", true),
        ("\"a\"", "W/\"a\"", true),
        ("\"a\"", "\"b\"", false),
        ("W/\"a\"", "W/\"b\"", false),
        ("", "\"b\"", false),
    ] {
        let mut bench = Bench::new();
        let modified = bench.date(-3000);
        let mut response = vec![("cache-control", "max-age=2"), ("last-modified", &*modified)];
        if !stored.is_empty() {
            response.push(("etag", stored));
        }
        bench.get("/", &response, "old");
        bench.pass(3);
        let update = [("cache-control", "max-age=60"), ("etag", not_modified)];
        let got = bench.exchange(("GET", "/", &[]), (304, &update, ""));
        assert_eq!(got, cached("old"), "{stored} {not_modified}");
        assert_eq!(bench.has("/").is_some(), updates, "{stored} {not_modified}");
        assert_eq!(bench.cache.statistics().entries, usize::from(updates), "{stored} {not_modified}");
    }
}

#[test]
fn no_cache_validates_each_time() {
    let bench = Bench::new();
    bench.get("/", &[("cache-control", "max-age=60, no-cache"), ("etag", "\"a\"")], "body");
    for _ in 0..2 {
        let mut headers = HeaderMap::new();
        let fetch = bench.fetch("/", &[]);
        fetch.prepare(&mut headers);
        assert_eq!(field(&headers, "if-none-match"), "\"a\"");
        assert_eq!(bench.receive(fetch, 304, &[], ""), cached("body"));
    }
}

#[test]
fn while_a_response_is_refreshed_the_stale_one_answers() {
    let mut bench = Bench::new();
    let swr = [("cache-control", "max-age=1, stale-while-revalidate=10"), ("etag", "\"a\"")];
    bench.get("/", &swr, "old");
    bench.pass(2);
    let Ask::Refresh(answer, fetch) = bench.ask("/", &[("range", "bytes=0-1"), ("if-none-match", "\"b\"")])
    else {
        panic!()
    };
    assert_eq!(got(&answer), Got::Cached(206, "ol".to_owned()));
    assert_eq!(field(&answer.headers, "cache-status"), "wasi-http-host; hit; ttl=-1");
    let mut headers = header_map(&[("range", "bytes=0-1"), ("if-none-match", "\"b\"")]);
    fetch.prepare(&mut headers);
    assert_eq!(headers, header_map(&[("if-none-match", "\"a\"")]), "the refresh gets the whole");
    assert_eq!(bench.has("/").as_deref(), Some("old"), "one refresh is enough");
    bench.receive(fetch, 200, &[("cache-control", "max-age=60")], "new");
    assert_eq!(bench.has("/").as_deref(), Some("new"));
}

#[test]
fn a_refresh_that_fails_is_tried_again_after_a_pause() {
    let mut bench = Bench::new();
    bench.get("/", &[("cache-control", "max-age=1, stale-while-revalidate=10")], "old");
    bench.pass(2);
    for _ in 0..2 {
        let Ask::Refresh(_, fetch) = bench.ask("/", &[]) else { panic!() };
        let mut headers = header_map(&[("range", "bytes=0-1")]);
        fetch.prepare(&mut headers);
        assert!(headers.is_empty(), "the refresh gets the whole");
        assert!(fetch.failed(bench.now).is_none());
        assert_eq!(bench.has("/").as_deref(), Some("old"));
        bench.pass(1);
    }
    bench.pass(10);
    assert_eq!(bench.has("/"), None, "the window is over");
}

#[test]
fn head_is_answered_by_a_stale_response_and_refreshes_nothing() {
    let mut bench = Bench::new();
    bench.get("/", &[("cache-control", "max-age=1, stale-while-revalidate=10")], "old");
    bench.pass(2);
    let headers = HeaderMap::new();
    assert!(matches!(bench.ask_as("HEAD", "/", &headers, Turn::First), Ask::Answer(_, Outcome::Stale)));
    assert!(matches!(bench.ask("/", &[]), Ask::Refresh(..)));
}

#[test]
fn in_the_place_of_an_error_a_stale_response_answers_where_allowed() {
    for (control, age, allowed) in [
        ("max-age=1, stale-if-error=10", 10, true),
        ("max-age=1, stale-if-error=10", 11, false),
        ("max-age=1", 2, false),
        ("max-age=1, stale-if-error=10, must-revalidate", 2, false),
        ("max-age=1, stale-if-error=10, proxy-revalidate", 2, false),
        ("s-maxage=1, stale-if-error=10", 2, false),
    ] {
        let mut bench = Bench::new();
        bench.get("/", &[("cache-control", control), ("etag", "\"a\"")], "old");
        bench.pass(age);
        let expected = if allowed { cached("old") } else { Got::Forwarded };
        for status in [500, 502, 503, 504] {
            assert_eq!(bench.exchange(("GET", "/", &[]), (status, &[], "")), expected, "{control} {status}");
        }
        assert_eq!(bench.exchange(("GET", "/", &[]), (501, &[], "")), Got::Forwarded, "{control}");
        let answer = bench.fetch("/", &[]).failed(bench.now);
        assert_eq!(answer.is_some(), allowed, "{control}: the component has not answered");
    }
}

#[test]
fn a_head_that_fails_is_answered_as_a_get() {
    for (control, got) in [
        ("max-age=1, stale-if-error=10", cached("old")),
        ("max-age=1", Got::Forwarded),
        ("max-age=1, stale-if-error=10, must-revalidate", Got::Forwarded),
    ] {
        let mut bench = Bench::new();
        bench.get("/", &[("cache-control", control)], "old");
        bench.pass(2);
        assert_eq!(bench.exchange(("HEAD", "/", &[]), (503, &[], "")), got, "{control}");
        assert_eq!(bench.cache.statistics().entries, 1, "{control}: an error describes nothing");
    }
}

#[test]
fn what_was_invalidated_replaces_no_error() {
    let mut bench = Bench::new();
    bench.get("/", &[("cache-control", "max-age=1, stale-if-error=10")], "old");
    bench.pass(2);
    let fetch = bench.fetch("/", &[]);
    bench.cache.purge(&Purge::default());
    assert!(fetch.failed(bench.now).is_none());
}

#[test]
fn head_updates_the_stored_response_or_removes_it() {
    for (update, entries, remains) in [
        (&[("cache-control", "max-age=60"), ("kept", "2")][..], 1, true),
        (&[("cache-control", "max-age=60"), ("etag", "\"a\""), ("content-length", "4")], 1, true),
        (&[("cache-control", "max-age=60"), ("etag", "\"b\"")], 0, false),
        (&[("cache-control", "max-age=60"), ("content-length", "5")], 0, false),
    ] {
        let mut bench = Bench::new();
        bench.get("/", &[("cache-control", "max-age=1"), ("etag", "\"a\""), ("kept", "1")], "body");
        bench.pass(2);
        assert_eq!(bench.exchange(("HEAD", "/", &[]), (200, update, "")), Got::Forwarded);
        assert_eq!(bench.has("/").is_some(), remains, "{update:?}");
        assert_eq!(bench.cache.statistics().entries, entries, "{update:?}");
    }
    let mut bench = Bench::new();
    bench.get("/", &[("cache-control", "max-age=1"), ("etag", "\"a\"")], "body");
    bench.pass(2);
    bench.exchange(("HEAD", "/", &[]), (410, &[("cache-control", "max-age=60")], ""));
    assert_eq!((bench.has("/"), bench.cache.statistics().entries), (None, 1), "an error describes nothing");
}
