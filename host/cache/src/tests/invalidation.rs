//! Invalidation: by unsafe requests, by groups, and by the operator.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread,
};

use super::*;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[test]
fn an_unsafe_request_that_succeeds_invalidates_its_address() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"] {
        for (status, invalidates) in [(200, true), (204, true), (303, true), (400, false), (500, false)] {
            let bench = Bench::new();
            bench.get("/a?b", &[FRESH], "a");
            bench.get("/a", &[FRESH], "a");
            bench.exchange((method, "/a?b", &[]), (status, &[], ""));
            assert_eq!(bench.has("/a?b").is_none(), invalidates, "{method} {status}");
            assert!(bench.has("/a").is_some());
        }
    }
    let bench = Bench::new();
    bench.get("/", &[FRESH], "a");
    for method in ["OPTIONS", "TRACE", "HEAD"] {
        bench.exchange((method, "/", &[]), (200, &[], ""));
        assert!(bench.has("/").is_some(), "{method}");
    }
}

#[test]
fn locations_of_the_same_origin_are_invalidated_too() {
    for (location, invalidates) in [
        ("/b/c?d", true),
        ("/b/c?d#e", true),
        ("http://x/b/c?d", true),
        ("//x/b/c?d", true),
        ("c?d", true),
        ("https://x/b/c?d", false),
        ("http://y/b/c?d", false),
        ("//y/b/c?d", false),
        ("http://x:81/b/c?d", false),
        ("/b/c", false),
    ] {
        for name in ["location", "content-location"] {
            let bench = Bench::new();
            bench.get("/b/c?d", &[FRESH], "a");
            bench.exchange(("POST", "/b/a?q", &[]), (201, &[(name, location)], ""));
            assert_eq!(bench.has("/b/c?d").is_none(), invalidates, "{name}: {location}");
        }
    }
}

#[test]
fn all_variants_are_invalidated() {
    let bench = Bench::new();
    for foo in ["1", "2"] {
        bench.exchange(("GET", "/", &[("foo", foo)]), (200, &[FRESH, ("vary", "foo")], "a"));
    }
    bench.exchange(("DELETE", "/", &[]), (204, &[], ""));
    assert_eq!(bench.cache.statistics().entries, 0);
}

#[test]
fn a_group_is_invalidated_by_unsafe_requests_only() {
    let grouped = |groups| [FRESH, ("cache-groups", groups)];
    let bench = Bench::new();
    bench.get("/a", &grouped(r#""one", "two""#), "a");
    bench.get("/b", &grouped(r#""two""#), "b");
    bench.get("/c", &grouped(r#""Two""#), "c");
    bench.get("/d", &[FRESH], "d");
    let invalidation = [("cache-group-invalidation", r#""two", "three""#)];
    bench.exchange(("GET", "/e", &[]), (200, &invalidation, ""));
    assert!(bench.has("/a").is_some(), "GET is safe");
    bench.exchange(("DELETE", "/e", &[]), (200, &invalidation, ""));
    let has = ["/a", "/b", "/c", "/d"].map(|path| bench.has(path).is_some());
    assert_eq!(has, [false, false, true, true]);
    bench.get("/a", &grouped(r#""one", "two""#), "new");
    assert_eq!(bench.has("/a").as_deref(), Some("new"));
}

#[test]
fn groups_that_the_cache_cannot_follow_are_not_stored() {
    let bench = Bench::new();
    for (path, groups) in [("/a", "\"a"), ("/b", &format!("\"{}\"", "x".repeat(200)))] {
        bench.get(path, &[FRESH, ("cache-groups", groups)], "a");
        assert_eq!(bench.has(path), None, "{groups}");
    }
}

/// A response that stays although the component has invalidated it is worse than one that is fetched again.
#[test]
fn an_invalidation_of_groups_that_the_cache_cannot_follow_invalidates_all() {
    let many = vec!["\"a\""; 65].join(", ");
    for (field, remains) in [("\"two\"", true), ("two", true), ("\"one", false), (&many, false)] {
        let bench = Bench::new();
        bench.get("/", &[FRESH, ("cache-groups", "\"one\"")], "a");
        bench.exchange(("POST", "/other", &[]), (200, &[("cache-group-invalidation", field)], ""));
        assert_eq!(bench.has("/").is_some(), remains, "{field}");
        bench.get("/", &[FRESH], "b");
        assert!(bench.has("/").is_some(), "{field}: a later response is stored");
    }
}

/// The request for the response began before, so the response may be older than what has invalidated it.
#[test]
fn a_response_in_progress_is_not_stored_after_an_invalidation() {
    type Invalidate = fn(&Bench);
    let all: [(&str, Invalidate, bool); 7] = [
        ("nothing", |_| {}, true),
        ("its address", |bench| drop(bench.exchange(("PUT", "/", &[]), (200, &[], ""))), false),
        ("another address", |bench| drop(bench.exchange(("PUT", "/b", &[]), (200, &[], ""))), true),
        (
            "its group",
            |bench| {
                let invalidation = [("cache-group-invalidation", "\"g\"")];
                bench.exchange(("PUT", "/b", &[]), (200, &invalidation, ""));
            },
            false,
        ),
        ("everything", |bench| assert!(bench.cache.purge(&Purge::default()).is_some()), false),
        (
            "the component",
            |bench| {
                assert!(
                    bench.cache.purge(&Purge { component: Some("component"), ..Purge::default() }).is_some()
                );
            },
            false,
        ),
        (
            "the operator's address",
            |bench| {
                assert!(
                    bench.cache.purge(&Purge { address: Some(("x", "/")), ..Purge::default() }).is_some()
                );
            },
            false,
        ),
    ];
    for (what, invalidate, stored) in all {
        let bench = Bench::new();
        let fetch = bench.fetch("/", &[]);
        invalidate(&bench);
        bench.receive(fetch, 200, &[FRESH, ("cache-groups", "\"g\"")], "old");
        assert_eq!(bench.has("/").is_some(), stored, "{what}");
        bench.get("/", &[FRESH, ("cache-groups", "\"g\"")], "new");
        assert!(bench.has("/").is_some(), "{what}: a later one is stored");
    }
}

#[test]
fn a_304_in_progress_brings_nothing_back() {
    let mut bench = Bench::new();
    bench.get("/", &[("cache-control", "max-age=1"), ("etag", "\"a\"")], "old");
    bench.pass(2);
    let fetch = bench.fetch("/", &[]);
    bench.exchange(("PUT", "/", &[]), (200, &[], ""));
    assert_eq!(bench.receive(fetch, 304, &[FRESH], ""), cached("old"), "this client asked before");
    assert_eq!(bench.has("/"), None);
}

#[test]
fn the_operator_purges_all_or_a_part() {
    let purges: [(Purge<'_>, Option<usize>, [bool; 3]); 7] = [
        (Purge::default(), Some(3), [false, false, false]),
        (Purge { component: Some("component"), ..Purge::default() }, Some(2), [false, false, true]),
        (Purge { component: Some("unknown"), ..Purge::default() }, None, [true, true, true]),
        (Purge { group: Some("g"), ..Purge::default() }, Some(2), [false, true, false]),
        (
            Purge { group: Some("g"), component: Some("other"), ..Purge::default() },
            Some(1),
            [true, true, false],
        ),
        (Purge { address: Some(("x", "/b")), ..Purge::default() }, Some(1), [true, false, true]),
        (Purge { address: Some(("y", "/b")), ..Purge::default() }, Some(0), [true, true, true]),
    ];
    for (purge, count, remain) in purges {
        let mut bench = Bench::new();
        bench.get("/a", &[FRESH, ("cache-groups", "\"g\"")], "a");
        bench.get("/b", &[FRESH], "b");
        let other = bench.cache.space("other");
        let first = std::mem::replace(&mut bench.space, other);
        bench.get("/c", &[FRESH, ("cache-groups", "\"g\"")], "c");
        assert_eq!(bench.cache.purge(&purge), count, "{purge:?}");
        let last = bench.has("/c").is_some();
        bench.space = first;
        assert_eq!([bench.has("/a").is_some(), bench.has("/b").is_some(), last], remain, "{purge:?}");
    }
}

/// Each thread asks, and answers for the component with its present version. Once an invalidation of a version has returned, no
/// thread gets that version out of the cache.
#[test]
fn after_an_invalidation_no_thread_gets_what_is_older() {
    type Invalidate = fn(&Bench);
    let all: [Invalidate; 4] = [
        |bench| assert!(bench.cache.purge(&Purge::default()).is_some()),
        |bench| assert!(bench.cache.purge(&Purge { group: Some("g"), ..Purge::default() }).is_some()),
        |bench| drop(bench.exchange(("PUT", "/", &[]), (200, &[], ""))),
        |bench| {
            let invalidation = [("cache-group-invalidation", "\"g\"")];
            bench.exchange(("PUT", "/other", &[]), (200, &invalidation, ""));
        },
    ];
    for invalidate in all {
        let (bench, version, invalidated) = (Bench::new(), AtomicU64::new(0), AtomicU64::new(0));
        let hits = AtomicU64::new(0);
        thread::scope(|scope| {
            let clients = [(); 4].map(|()| {
                scope.spawn(|| {
                    while invalidated.load(SeqCst) < 300 {
                        let least = invalidated.load(SeqCst);
                        match bench.ask_as("GET", "/", &HeaderMap::new(), Turn::Alone) {
                            Ask::Answer(answer, _) => {
                                let text = std::str::from_utf8(&answer.body).unwrap();
                                let got: u64 = text.parse().unwrap();
                                assert!(got >= least, "{got} after the invalidation of all before {least}");
                                hits.fetch_add(1, SeqCst);
                            }
                            Ask::Fetch(fetch) => {
                                let body = version.load(SeqCst).to_string();
                                thread::yield_now();
                                bench.receive(fetch, 200, &[FRESH, ("cache-groups", "\"g\"")], &body);
                            }
                            _ => panic!(),
                        }
                    }
                })
            });
            for next in 1..=300 {
                let before = hits.load(SeqCst);
                version.store(next, SeqCst);
                invalidate(&bench);
                invalidated.store(next, SeqCst);
                // Each version is stored and answers, unless a client has ended: with an error, or after the last version.
                while hits.load(SeqCst) == before
                    && !clients.iter().any(thread::ScopedJoinHandle::is_finished)
                {
                    thread::yield_now();
                }
            }
            for client in clients {
                client.join().unwrap();
            }
        });
        assert!(hits.load(SeqCst) >= 299);
    }
}

/// A response ends while a purge runs that it is too old for. Whoever is first, nothing of it remains.
#[test]
fn what_a_purge_has_outrun_takes_no_bytes() {
    let bench = Bench::new();
    let body = "x".repeat(1000);
    for round in 0..500 {
        let filling = |path: &str| {
            let fetch = bench.fetch(path, &[]);
            match fetch.received(StatusCode::OK, &mut header_map(&[FRESH]), bench.now, bench.wall) {
                Received::Fill(filling) => filling,
                _ => panic!(),
            }
        };
        let fillings: Vec<_> = (0..8).map(|at| filling(&format!("/{round}/{at}"))).collect();
        let start = Barrier::new(2);
        thread::scope(|scope| {
            scope.spawn(|| {
                start.wait();
                bench.cache.purge(&Purge::default());
            });
            start.wait();
            for filling in fillings {
                filling.whole(body.as_bytes());
            }
        });
        assert_eq!(bench.cache.statistics().used, 0, "round {round}");
    }
}
