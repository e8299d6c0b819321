//! What is reused, for whom, and in which form.

use super::*;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[test]
fn a_response_is_reused_until_it_is_stale_and_tells_its_age() {
    let mut bench = Bench::new();
    assert_eq!(bench.get("/", &[FRESH, ("age", "10")], "a"), Got::Forwarded);
    bench.pass(49);
    let headers = bench.headers("/", &[]);
    assert_eq!(field(&headers, "age"), "59");
    assert_eq!(field(&headers, "cache-status"), "wasi-http-host; hit; ttl=1");
    assert_eq!(field(&headers, "date"), bench.date(-49), "the date is that of the response");
    bench.pass(1);
    assert_eq!(bench.has("/"), None);
}

#[test]
fn a_wall_clock_that_steps_makes_nothing_fresher() {
    for step in [-1_000_000i64, 1_000_000] {
        let mut bench = Bench::new();
        bench.get("/", &[FRESH], "a");
        let distance = Duration::from_secs(step.unsigned_abs());
        bench.wall = if step < 0 { bench.wall - distance } else { bench.wall + distance };
        bench.now += Duration::from_secs(59);
        assert_eq!(bench.has("/").as_deref(), Some("a"), "{step}");
        bench.now += Duration::from_secs(1);
        assert_eq!(bench.has("/"), None, "{step}");
    }
    // A date in the future makes nothing younger than it is.
    let mut bench = Bench::new();
    let (expires, date) = (bench.date(1_000_010), bench.date(1_000_000));
    bench.get("/", &[("expires", &expires), ("date", &date)], "a");
    bench.pass(9);
    assert_eq!(bench.has("/").as_deref(), Some("a"));
    bench.pass(1);
    assert_eq!(bench.has("/"), None);
}

#[test]
fn the_time_that_the_component_took_counts() {
    let mut bench = Bench::new();
    let fetch = bench.fetch("/", &[]);
    bench.pass(30);
    bench.receive(fetch, 200, &[FRESH], "a");
    assert_eq!(field(&bench.headers("/", &[]), "age"), "30");
}

#[test]
fn the_address_is_the_scheme_the_authority_the_path_and_the_query() {
    let bench = Bench::new();
    bench.get("/a?b=1", &[FRESH], "a");
    assert!(bench.has("/a?b=1").is_some());
    for other in ["/a", "/a?b=2", "/a?B=1", "/A?b=1", "/a?b=1&"] {
        assert_eq!(bench.has(other), None, "{other}");
    }
    let (method, headers) = (Method::GET, HeaderMap::new());
    for (https, authority) in [(true, "x"), (false, "y"), (false, "X"), (false, "x:80")] {
        let asked = Asked {
            method: &method,
            https,
            authority,
            path: "/a?b=1",
            headers: &headers,
            is_authenticated: false,
            has_body: false,
        };
        assert!(
            matches!(bench.space.ask(&asked, bench.now, Turn::First), Ask::Fetch(_)),
            "{https} {authority}"
        );
    }
}

#[test]
fn what_one_component_answered_reaches_no_other() {
    let mut bench = Bench::new();
    bench.get("/", &[FRESH], "a");
    let first = std::mem::replace(&mut bench.space, bench.cache.space("component"));
    assert_eq!(bench.has("/"), None, "the same name is another deployment");
    bench.get("/", &[FRESH], "b");
    let second = std::mem::replace(&mut bench.space, first);
    assert_eq!(bench.has("/").as_deref(), Some("a"));
    assert_eq!(bench.cache.statistics().entries, 2);
    drop(second);
    assert_eq!(bench.cache.statistics().entries, 1, "it ends with its deployment");
}

#[test]
fn variants_are_kept_beside_each_other() {
    let bench = Bench::new();
    let varies = [FRESH, ("vary", "foo")];
    for (foo, body) in [("1", "one"), ("2", "two")] {
        let got = bench.exchange(("GET", "/", &[("foo", foo)]), (200, &varies, body));
        assert_eq!(got, Got::Forwarded);
    }
    assert_eq!(bench.has_for("/", &[("foo", "1")]).as_deref(), Some("one"));
    assert_eq!(bench.has_for("/", &[("foo", "2"), ("other", "x")]).as_deref(), Some("two"));
    assert_eq!(bench.has_for("/", &[("foo", "3")]), None);
    assert_eq!(bench.has("/"), None);
    let fetch = bench.fetch("/", &[("foo", "3")]);
    let mut headers = HeaderMap::new();
    status::add_forwarded(&mut headers, status::Reason::VaryMiss, false);
    let mut response = HeaderMap::new();
    assert!(matches!(fetch.received(StatusCode::OK, &mut response, bench.now, bench.wall), Received::Pass));
    assert_eq!(response, headers);
}

#[test]
fn clients_that_have_the_response_get_a_304() {
    let bench = Bench::new();
    let response = [FRESH, ("etag", "\"a\""), ("vary", "foo"), ("content-type", "text/plain")];
    bench.get("/", &response, "body");
    for (request, status) in [
        (("if-none-match", "\"a\""), 304),
        (("if-none-match", "W/\"a\""), 304),
        (("if-none-match", "\"b\""), 200),
    ] {
        let Ask::Answer(answer, _) = bench.ask("/", &[request]) else { panic!() };
        assert_eq!(answer.status.as_u16(), status, "{request:?}");
        if status == 304 {
            let names: Vec<_> = answer.headers.keys().map(HeaderName::as_str).collect();
            for name in ["etag", "cache-control", "vary", "date", "age", "cache-status"] {
                assert!(names.contains(&name), "{name}");
            }
            assert!(!names.contains(&"content-type") && answer.body.is_empty());
        }
    }
    // Only the component can say whether these hold.
    for name in ["if-match", "if-unmodified-since"] {
        assert!(matches!(bench.ask("/", &[(name, "\"a\"")]), Ask::Fetch(_)), "{name}");
    }
}

#[test]
fn parts_come_from_the_whole() {
    let bench = Bench::new();
    bench.get("/", &[FRESH, ("etag", "\"a\"")], "0123456789");
    for (request, status, body, content_range) in [
        (&[("range", "bytes=0-1")][..], 206, "01", "bytes 0-1/10"),
        (&[("range", "bytes=8-")], 206, "89", "bytes 8-9/10"),
        (&[("range", "bytes=-3")], 206, "789", "bytes 7-9/10"),
        (&[("range", "bytes=10-")], 416, "", "bytes */10"),
        (&[("range", "bytes=0-1,3-4")], 200, "0123456789", "-"),
        (&[("range", "bytes=0-1"), ("if-range", "\"a\"")], 206, "01", "bytes 0-1/10"),
        (&[("range", "bytes=0-1"), ("if-range", "\"b\"")], 200, "0123456789", "-"),
        (&[("range", "bytes=0-1"), ("if-none-match", "\"a\"")], 304, "", "-"),
    ] {
        let Ask::Answer(answer, _) = bench.ask("/", request) else { panic!() };
        assert_eq!(got(&answer), Got::Cached(status, body.to_owned()), "{request:?}");
        assert_eq!(field(&answer.headers, "content-range"), content_range, "{request:?}");
    }
    bench.exchange(("GET", "/404", &[]), (404, &[FRESH], "0123"));
    assert_eq!(bench.has_for("/404", &[("range", "bytes=0-1")]).as_deref(), Some("0123"));
}

#[test]
fn a_range_of_nothing_stored_goes_to_the_component_as_it_is() {
    let bench = Bench::new();
    let request = [("range", "bytes=0-1"), ("if-none-match", "\"a\"")];
    let mut headers = header_map(&request);
    bench.fetch("/", &request).prepare(&mut headers);
    assert_eq!(headers, header_map(&request));
    // A component that ignores the range gives the whole, which can be stored.
    bench.exchange(("GET", "/", &request[..1]), (200, &[FRESH], "0123"));
    assert_eq!(bench.has_for("/", &request[..1]).as_deref(), Some("01"));
}

#[test]
fn head_is_answered_from_get() {
    let bench = Bench::new();
    bench.get("/", &[FRESH], "body");
    let got = bench.exchange(("HEAD", "/", &[("range", "bytes=0-1")]), (500, &[], ""));
    assert_eq!(got, cached("body"));
}

#[test]
fn request_directives_count_by_a_setting() {
    let stored = [("cache-control", "max-age=60"), ("etag", "\"a\"")];
    for (request, age, counts) in [
        (("cache-control", "no-cache"), 0, true),
        (("cache-control", "no-store"), 0, true),
        (("cache-control", "max-age=0"), 0, true),
        (("cache-control", "max-age=10"), 9, false),
        (("cache-control", "max-age=10"), 10, true),
        (("cache-control", "min-fresh=10"), 49, false),
        (("cache-control", "min-fresh=10"), 50, true),
        (("cache-control", "nothing-to-see-here"), 0, false),
        (("pragma", "no-cache"), 0, true),
        (("pragma", "foo"), 0, false),
    ] {
        for follows in [true, false] {
            let mut bench = Bench::with(|settings| settings.request_directives = follows);
            bench.get("/", &stored, "a");
            bench.pass(age);
            let is_cached = bench.has_for("/", &[request]).is_some();
            assert_eq!(is_cached, !(counts && follows), "{request:?} {age} {follows}");
        }
    }
}

#[test]
fn a_client_may_accept_what_is_stale_or_want_only_what_is_stored() {
    let mut bench = Bench::with(|settings| settings.request_directives = true);
    let only = [("cache-control", "only-if-cached")];
    assert_eq!(bench.exchange(("GET", "/", &only), (200, &[], "")), Got::NotCached);
    bench.get("/", &[FRESH], "a");
    bench.get("/strict", &[("cache-control", "max-age=60, must-revalidate")], "a");
    assert!(bench.has_for("/", &only).is_some());
    bench.pass(70);
    for (control, accepted) in [("max-stale=20", true), ("max-stale", true), ("max-stale=5", false)] {
        assert_eq!(bench.has_for("/", &[("cache-control", control)]).is_some(), accepted, "{control}");
        assert_eq!(bench.has_for("/strict", &[("cache-control", control)]), None, "{control}");
    }
    assert_eq!(bench.exchange(("GET", "/", &only), (200, &[], "")), Got::NotCached);
    // Nothing is left in progress by requests that were not sent.
    assert!(matches!(bench.ask("/", &[]), Ask::Fetch(_)));
}
