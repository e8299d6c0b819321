//! What is stored.

use super::*;

/// Whether a response is reused for a later request without fields.
fn is_stored(request: Fields<'_>, status: u16, response: Fields<'_>) -> bool {
    is_stored_by(&Bench::new(), request, status, response)
}

fn is_stored_by(bench: &Bench, request: Fields<'_>, status: u16, response: Fields<'_>) -> bool {
    bench.exchange(("GET", "/", request), (status, response, "body"));
    bench.has("/").is_some()
}

#[test]
fn what_the_component_marks() {
    for control in [
        "max-age=60",
        "s-maxage=60",
        "public, max-age=60",
        "max-age=60, must-revalidate",
        "no-cache=\"a\", max-age=60",
        "private=\"a\", max-age=60",
        "max-age=60, no-store, must-understand",
    ] {
        assert!(is_stored(&[], 200, &[("cache-control", control)]), "{control}");
    }
    for control in [
        "no-store",
        "max-age=60, no-store",
        "private, max-age=60",
        "max-age=60, private=\"",
        "max-age=0",
        "max-age=x",
        "public",
        "",
    ] {
        assert!(!is_stored(&[], 200, &[("cache-control", control)]), "{control}");
    }
    assert!(!is_stored(&[], 200, &[]), "nothing says that it may be");
    assert!(!is_stored(&[], 200, &[("etag", "\"a\"")]), "a validator alone says nothing");
}

#[test]
fn any_final_status_with_a_lifetime_but_partial_ones() {
    for status in [200, 203, 204, 299, 301, 302, 303, 307, 308, 400, 404, 410, 499, 500, 502, 503, 504, 599] {
        assert!(is_stored(&[], status, &[("cache-control", "max-age=60")]), "{status}");
    }
    for status in [206, 304] {
        assert!(!is_stored(&[], status, &[("cache-control", "max-age=60")]), "{status}");
    }
    let control = "max-age=60, no-store, must-understand";
    assert!(!is_stored(&[], 599, &[("cache-control", control)]), "it is not understood");
}

#[test]
fn the_targeted_field_counts_before_cache_control() {
    for (targeted, control, stored) in [
        ("max-age=60", "no-store", true),
        ("no-store", "max-age=60", false),
        ("private", "max-age=60", false),
        ("max-age=0", "max-age=60", false),
        ("max-age=60, &&&", "no-store", false),
        ("&&&", "max-age=60", true),
    ] {
        let response = [("cdn-cache-control", targeted), ("cache-control", control)];
        assert_eq!(is_stored(&[], 200, &response), stored, "{targeted} / {control}");
    }
    let bench = Bench::new();
    bench.get("/", &[("cdn-cache-control", "max-age=60"), ("cache-control", "max-age=1")], "a");
    let headers = bench.headers("/", &[]);
    assert_eq!(field(&headers, "cdn-cache-control"), "max-age=60", "it is passed on");
    assert_eq!(field(&headers, "cache-control"), "max-age=1");
}

#[test]
fn a_client_that_is_known_shares_only_what_is_for_all() {
    let authorized = [("authorization", "Basic x")];
    for (control, stored) in [
        ("max-age=60", false),
        ("max-age=60, public", true),
        ("max-age=60, must-revalidate", true),
        ("s-maxage=60", true),
        ("max-age=60, proxy-revalidate", false),
    ] {
        assert_eq!(is_stored(&authorized, 200, &[("cache-control", control)]), stored, "{control}");
    }
    // A certificate says who the client is, as well.
    for (control, stored) in [("max-age=60", false), ("max-age=60, public", true)] {
        let bench = Bench::new();
        let (method, headers) = (Method::GET, HeaderMap::new());
        let asked = Asked {
            method: &method,
            https: false,
            authority: "x",
            path: "/",
            headers: &headers,
            is_authenticated: true,
            has_body: false,
        };
        let Ask::Fetch(fetch) = bench.space.ask(&asked, bench.now, Turn::First) else { panic!() };
        bench.receive(fetch, 200, &[("cache-control", control)], "body");
        assert_eq!(bench.has("/").is_some(), stored, "{control}");
    }
}

#[test]
fn a_cookie_is_set_for_one_client_unless_the_component_speaks_of_shared_caches() {
    let with = |field: (&'static str, &'static str)| [("set-cookie", "id=1"), field];
    for (field, stored) in [
        (("cache-control", "max-age=60"), false),
        (("cache-control", "max-age=60, public"), true),
        (("cache-control", "s-maxage=60"), true),
        (("cdn-cache-control", "max-age=60"), true),
        (("cache-control", "max-age=60, no-cache=\"set-cookie\""), true),
    ] {
        assert_eq!(is_stored(&[], 200, &with(field)), stored, "{field:?}");
        let bench = Bench::with(|settings| settings.set_cookie = true);
        assert!(is_stored_by(&bench, &[], 200, &with(field)), "{field:?}");
    }
    let bench = Bench::new();
    bench.get("/", &with(("cache-control", "max-age=60, private=\"Set-Cookie\"")), "a");
    assert_eq!(field(&bench.headers("/", &[]), "set-cookie"), "-");
    // Nothing is assumed of a response that sets a cookie.
    let bench = Bench::with(|settings| settings.set_cookie = true);
    let modified = bench.date(-100_000);
    assert!(!is_stored_by(&bench, &[], 200, &[("set-cookie", "id=1"), ("last-modified", &modified)]));
}

#[test]
fn a_lifetime_is_assumed_for_nobody_in_particular() {
    let modified = Bench::new().date(-100_000);
    let response = [("last-modified", &*modified)];
    assert!(is_stored(&[], 200, &response));
    assert!(!is_stored(&[("cookie", "id=1")], 200, &response));
    assert!(!is_stored(&[("authorization", "x")], 200, &response));
    assert!(!is_stored(&[], 200, &[response[0], ("pragma", "no-cache")]));
    assert!(!is_stored(&[], 403, &response));
}

#[test]
fn fields_of_the_connection_and_listed_ones_are_not_stored() {
    let bench = Bench::new();
    let response = [
        ("cache-control", "max-age=60, no-cache=\"b\""),
        ("connection", "a, close"),
        ("keep-alive", "timeout=5"),
        ("proxy-authenticate", "Basic"),
        ("proxy-connection", "close"),
        ("te", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "x"),
        ("trailer", "x"),
        ("x-request-id", "of the first"),
        ("a", "1"),
        ("b", "2"),
        ("c", "3"),
        ("c", "4"),
    ];
    bench.get("/", &response, "a");
    let headers = bench.headers("/", &[]);
    let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["age", "c", "cache-control", "cache-status", "date", "x-request-id"]);
    assert_eq!(field(&headers, "x-request-id"), "0", "the host writes its own");
    assert_eq!(headers.get_all("c").iter().count(), 2);
}

#[test]
fn an_incomplete_body_is_never_stored() {
    for (length, body, stored) in
        [("4", "body", true), ("5", "body", false), ("3", "body", false), ("x", "body", false)]
    {
        let bench = Bench::new();
        bench.get("/", &[("cache-control", "max-age=60"), ("content-length", length)], body);
        assert_eq!(bench.has("/").is_some(), stored, "{length}");
    }
    let bench = Bench::new();
    let filling = || {
        let fetch = bench.fetch("/", &[]);
        match fetch.received(
            StatusCode::OK,
            &mut header_map(&[("cache-control", "max-age=60")]),
            bench.now,
            bench.wall,
        ) {
            Received::Fill(filling) => filling,
            _ => panic!(),
        }
    };
    let mut broken = filling();
    broken.push(b"half");
    drop(broken);
    assert_eq!(bench.has("/"), None, "it broke off");
    let mut with_trailers = filling();
    with_trailers.push(b"whole");
    with_trailers.give_up();
    assert!(!with_trailers.finish());
    assert_eq!(bench.has("/"), None, "it had trailers");
    let mut whole = filling();
    whole.push(b"ha");
    whole.push(b"lf");
    assert!(whole.finish());
    assert_eq!(bench.has("/").as_deref(), Some("half"));
}

#[test]
fn other_methods_are_neither_answered_nor_stored() {
    let bench = Bench::new();
    for method in ["POST", "PUT", "OPTIONS", "QUERY", "HEAD"] {
        bench.exchange((method, "/", &[]), (200, &[("cache-control", "max-age=60")], "body"));
        assert_eq!(bench.has("/"), None, "{method}");
    }
    bench.get("/", &[("cache-control", "max-age=60")], "body");
    let options = bench.exchange(("OPTIONS", "/", &[]), (200, &[], ""));
    assert_eq!((options, bench.has("/").as_deref()), (Got::Forwarded, Some("body")));
}

#[test]
fn a_client_can_ask_that_its_response_is_not_stored() {
    let no_store = [("cache-control", "no-store")];
    assert!(!is_stored(&no_store, 200, &[("cache-control", "max-age=60")]));
    // What the client wants not to be stored updates, refreshes and removes nothing for others, either.
    let stale = [("cache-control", "max-age=1, stale-if-error=60"), ("etag", "\"a\"")];
    for (method, status, update, got) in [
        ("GET", 304, "max-age=60", cached("old")),
        ("GET", 200, "max-age=60", Got::Forwarded),
        ("GET", 200, "no-store", Got::Forwarded),
        ("HEAD", 200, "max-age=60", Got::Forwarded),
    ] {
        let mut bench = Bench::new();
        bench.get("/", &stale, "old");
        bench.pass(2);
        let answer = [("cache-control", update), ("etag", "\"a\"")];
        assert_eq!(bench.exchange((method, "/", &no_store), (status, &answer, "new")), got, "{method}");
        assert_eq!(bench.has("/"), None, "{method} {status}: it is stale as before");
        assert_eq!(bench.exchange(("GET", "/", &[]), (503, &[], "")), cached("old"), "{method} {status}");
    }
    let mut bench = Bench::new();
    bench.get("/", &[("cache-control", "max-age=1, stale-while-revalidate=60")], "old");
    bench.pass(2);
    assert!(matches!(bench.ask("/", &no_store), Ask::Answer(_, Outcome::Stale)));
    assert!(matches!(bench.ask("/", &[]), Ask::Refresh(..)), "the next request refreshes it");
}
