//! Requests that wait for one another.

use super::*;

const FRESH: (&str, &str) = ("cache-control", "max-age=60");

fn waits(bench: &Bench, path: &str, request: Fields<'_>) -> Option<Arc<Flight>> {
    match bench.ask(path, request) {
        Ask::Wait(flight) => Some(flight),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn misses_for_one_address_wait_for_the_first() {
    let bench = Bench::new();
    let leader = bench.fetch("/", &[]);
    let flight = waits(&bench, "/", &[]).unwrap();
    assert!(waits(&bench, "/other", &[]).is_none());
    bench.receive(leader, 200, &[FRESH], "a");
    let turn = flight.settled().await;
    assert_eq!(turn, Turn::Again);
    let Ask::Answer(answer, Outcome::Collapsed) = bench.ask_as("GET", "/", &HeaderMap::new(), turn) else {
        panic!()
    };
    assert_eq!(got(&answer), cached("a"));
    assert_eq!(field(&answer.headers, "cache-status"), "wasi-http-host; fwd=uri-miss; collapsed");
}

#[tokio::test(start_paused = true)]
async fn after_a_response_that_cannot_be_stored_nobody_waits_for_a_while() {
    let mut bench = Bench::new();
    let leader = bench.fetch("/", &[]);
    let flight = waits(&bench, "/", &[]).unwrap();
    bench.receive(leader, 200, &[("cache-control", "private")], "a");
    assert_eq!(flight.settled().await, Turn::Alone);
    // All go at once, and none waits for another.
    let followers = [(); 3].map(|()| bench.fetch("/", &[]));
    drop(followers);
    bench.pass(10);
    let _leader = bench.fetch("/", &[]);
    assert!(waits(&bench, "/", &[]).is_some(), "the component may have changed its mind");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_client_leaves_is_succeeded_by_one_follower() {
    let bench = Bench::new();
    let leader = bench.fetch("/", &[]);
    let flight = waits(&bench, "/", &[]).unwrap();
    drop(leader);
    assert_eq!(flight.settled().await, Turn::First);
    let _successor = bench.fetch("/", &[]);
    assert!(waits(&bench, "/", &[]).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_component_that_fails_lets_its_followers_go() {
    let bench = Bench::new();
    let leader = bench.fetch("/", &[]);
    let flight = waits(&bench, "/", &[]).unwrap();
    assert!(leader.failed(bench.now).is_none());
    assert_eq!(flight.settled().await, Turn::Alone);
}

/// A client that reads slowly delays one request each for half a second, and no later one.
#[tokio::test(start_paused = true)]
async fn a_leader_whose_client_is_slow_is_not_waited_for_again() {
    let bench = Bench::new();
    let leader = bench.fetch("/", &[]);
    let flight = waits(&bench, "/", &[]).unwrap();
    let response = leader.received(StatusCode::OK, &mut header_map(&[FRESH]), bench.now, bench.wall);
    assert!(matches!(response, Received::Fill(_)));
    assert_eq!(flight.settled().await, Turn::Alone);
    let successor = bench.fetch("/", &[]);
    let next = waits(&bench, "/", &[]).unwrap();
    bench.receive(successor, 200, &[FRESH], "a");
    assert_eq!((next.settled().await, bench.has("/").as_deref()), (Turn::Again, Some("a")));
    drop(response);
}

/// Each request must be validated, so that waiting helps nobody.
#[tokio::test(start_paused = true)]
async fn responses_that_answer_only_their_own_request_are_not_waited_for_twice() {
    let bench = Bench::new();
    let leader = bench.fetch("/", &[]);
    let flight = waits(&bench, "/", &[]).unwrap();
    bench.receive(leader, 200, &[("cache-control", "no-cache"), ("etag", "\"a\"")], "a");
    let turn = flight.settled().await;
    let followers = [(); 2].map(|()| bench.ask_as("GET", "/", &HeaderMap::new(), turn));
    assert!(followers.iter().all(|ask| matches!(ask, Ask::Fetch(_))));
    assert!(waits(&bench, "/", &[]).is_none());
}

#[test]
fn only_requests_that_one_response_can_answer_wait() {
    let mut bench = Bench::new();
    for request in [
        ("authorization", "x"),
        ("range", "bytes=0-1"),
        ("if-none-match", "\"a\""),
        ("if-modified-since", "x"),
        ("if-match", "\"a\""),
        // A client could otherwise keep the others from waiting for one another.
        ("cache-control", "no-store"),
    ] {
        let _leader = bench.fetch("/", &[]);
        assert!(waits(&bench, "/", &[request]).is_none(), "{request:?}");
        assert!(waits(&bench, "/", &[]).is_some());
    }
    let _leader = bench.fetch("/", &[]);
    let alone = bench.ask_as("GET", "/", &HeaderMap::new(), Turn::Alone);
    assert!(matches!(alone, Ask::Fetch(_)), "it may be a part of the request that it would wait for");
    drop((alone, _leader));
    // Once the selecting fields are known, requests for other variants do not wait.
    bench.exchange(("GET", "/v", &[("foo", "1")]), (200, &[FRESH, ("vary", "foo")], "a"));
    let _two = bench.fetch("/v", &[("foo", "2")]);
    let _three = bench.fetch("/v", &[("foo", "3")]);
    assert!(waits(&bench, "/v", &[("foo", "2")]).is_some());
    // A validation serves all, also those with a condition or a range of their own.
    bench.get("/e", &[("cache-control", "max-age=1"), ("etag", "\"a\"")], "a");
    bench.pass(2);
    let _leader = bench.fetch("/e", &[("if-none-match", "\"a\"")]);
    assert!(waits(&bench, "/e", &[("range", "bytes=0-1")]).is_some());
}

#[test]
fn the_number_of_followers_is_bounded() {
    let bench = Bench::new();
    let one = bench.space.follow(1);
    assert!(one.is_some() && bench.space.follow(1).is_none());
    drop(one);
    assert!(bench.space.follow(1).is_some());
}
