//! The bounds in bytes.

use super::*;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

#[test]
fn a_flood_of_addresses_stays_within_the_capacity_and_leaves_what_is_visited() {
    let bench = Bench::new();
    let body = "x".repeat(1000);
    for path in ["/visited/1", "/visited/2"] {
        bench.get(path, &[FRESH], &body);
        for _ in 0..3 {
            assert!(bench.has(path).is_some());
        }
    }
    for at in 0..20_000 {
        bench.get(&format!("/flood/{at}"), &[FRESH], &body);
        assert!(bench.cache.statistics().used <= MIB);
    }
    let statistics = bench.cache.statistics();
    assert!(statistics.bytes > MIB / 2 && statistics.entries < 1000, "{statistics:?}");
    assert_eq!(statistics.used, statistics.bytes);
    assert!(bench.has("/visited/1").is_some() && bench.has("/visited/2").is_some());
}

#[test]
fn everything_that_an_entry_holds_is_counted() {
    let size = |path: &str, request: Fields<'_>, response: Fields<'_>, body: &str| {
        let bench = Bench::new();
        bench.exchange(("GET", path, request), (200, response, body));
        let statistics = bench.cache.statistics();
        assert_eq!(statistics.entries, 1);
        statistics.bytes
    };
    let long = "x".repeat(1000);
    let least = size("/", &[], &[FRESH], "");
    let groups = format!("\"{}\"", "g".repeat(100));
    assert!(least > 500);
    assert_eq!(size("/", &[], &[FRESH], &long), least + 1000);
    assert_eq!(size(&format!("/{long}"), &[], &[FRESH], ""), least + 1000);
    assert!(size("/", &[], &[FRESH, ("a", &long)], "") > least + 1000);
    assert!(size("/", &[("a", &long)], &[FRESH, ("vary", "a")], "") > least + 1000);
    assert!(size("/", &[], &[FRESH, ("cache-groups", &groups)], "") > least + 200);
}

#[test]
fn what_is_too_large_is_not_stored() {
    let bench = Bench::new();
    let largest = MIB / 16;
    bench.get("/a", &[FRESH], &"x".repeat(largest));
    assert!(bench.has("/a").is_some());
    bench.get("/b", &[FRESH], &"x".repeat(largest + 1));
    let announced = (largest + 1).to_string();
    bench.get("/c", &[FRESH, ("content-length", &announced)], &"x".repeat(largest + 1));
    let large = "x".repeat(17 << 10);
    bench.get("/d", &[FRESH, ("a", &large)], "");
    let long = format!("/{}", "x".repeat(9 << 10));
    bench.get(&long, &[FRESH], "");
    assert_eq!(bench.cache.statistics().entries, 1);
}

#[test]
fn variants_of_an_address_are_bounded_and_the_oldest_leave() {
    let bench = Bench::new();
    for foo in 0..100 {
        let foo = foo.to_string();
        bench.exchange(("GET", "/", &[("foo", &foo)]), (200, &[FRESH, ("vary", "foo")], &foo));
    }
    assert_eq!(bench.cache.statistics().entries, 32);
    assert_eq!(bench.has_for("/", &[("foo", "99")]).as_deref(), Some("99"));
    assert_eq!(bench.has_for("/", &[("foo", "67")]), None);
}

/// Clients that read slowly keep what was evicted, and this counts against the capacity.
#[test]
fn bodies_that_clients_still_read_count() {
    let bench = Bench::new();
    let body = "x".repeat(60_000);
    let mut read = Vec::new();
    for at in 0..100 {
        let path = format!("/{at}");
        bench.get(&path, &[FRESH], &body);
        if let Ask::Answer(answer, _) = bench.ask(&path, &[]) {
            // A slice keeps the whole body.
            read.push(answer.body.slice(..1));
        }
        assert!(bench.cache.statistics().used <= MIB);
    }
    assert!(read.len() < 20, "no more than fit");
    let statistics = bench.cache.statistics();
    assert!(statistics.used >= read.len() * 60_000, "{statistics:?}");
    read.clear();
    bench.get("/again", &[FRESH], &body);
    assert!(bench.has("/again").is_some());
}

#[test]
fn responses_on_their_way_into_the_store_count() {
    let bench = Bench::new();
    let begin = |path: &str| {
        let fetch = bench.fetch(path, &[]);
        match fetch.received(StatusCode::OK, &mut header_map(&[FRESH]), bench.now, bench.wall) {
            Received::Fill(filling) => Some(filling),
            _ => None,
        }
    };
    let mut fillings = Vec::new();
    for at in 0..100 {
        if let Some(mut filling) = begin(&format!("/{at}")) {
            filling.push(&[0; 50_000]);
            fillings.push(filling);
        }
        assert!(bench.cache.statistics().used <= MIB);
    }
    let stored = fillings.into_iter().map(Filling::finish).filter(|stored| *stored).count();
    assert!((10..=20).contains(&stored), "{stored}");
    bench.cache.purge(&Purge::default());
    assert_eq!(bench.cache.statistics().used, 0);
}

#[test]
fn nothing_remains_of_requests_that_have_ended() {
    let bench = Bench::new();
    for at in 0..1000 {
        drop(bench.fetch(&format!("/{at}"), &[]));
    }
    let (progress, _) = bench.cache.state.store.in_progress();
    assert_eq!(progress, 0);
}

#[test]
fn addresses_that_are_not_collapsed_are_bounded() {
    let bench = Bench::new();
    for at in 0..200_000 {
        bench.get(&format!("/{at}"), &[("cache-control", "private")], "");
    }
    let (_, uncollapsible) = bench.cache.state.store.in_progress();
    assert!(uncollapsible <= 64 * 1024, "{uncollapsible}");
}
