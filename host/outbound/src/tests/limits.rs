//! Tests of the limits of time, size, concurrency and connections.

use super::server::Then;
use super::*;

fn endless(first: &str, again: &[u8]) -> Then {
    Then::Repeat(first.into(), again.into(), Duration::from_millis(1))
}

#[tokio::test]
async fn a_silent_server_meets_the_first_byte_limit() {
    let server = Server::new(Then::Say(Vec::new())).await;
    let (client, stats) = Setup::open().limits(|limits| limits.first_byte = SHORT).client();
    let error = failure(&client, &uri(&server)).await;
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error:?}");
    assert_eq!((stats.in_flight(), outcomes(&stats)), (0, vec![("timeout", 1)]));
}

#[tokio::test]
async fn a_guest_may_shorten_the_times() {
    let server = Server::new(Then::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".into())).await;
    let silent = Server::new(Then::Say(Vec::new())).await;
    let (client, _) = Setup::open().client();
    let options = RequestOptions { first_byte_timeout: Some(SHORT), ..RequestOptions::default() };
    let error = client.send(request(&uri(&silent)), options).await.unwrap_err();
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error:?}");
    let options = RequestOptions { between_bytes_timeout: Some(SHORT), ..RequestOptions::default() };
    let response = client.send(request(&uri(&server)), options).await.unwrap();
    assert!(matches!(read(response).await, Err(Error::ConnectionReadTimeout)));
}

#[tokio::test]
async fn a_body_that_stops_coming_meets_the_limit_between_bytes() {
    let server = Server::new(Then::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".into())).await;
    let (client, stats) = Setup::open().limits(|limits| limits.between_bytes = SHORT).client();
    let error = failure(&client, &uri(&server)).await;
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error:?}");
    assert_eq!((stats.in_flight(), outcomes(&stats)), (0, vec![("timeout", 1)]));
}

#[tokio::test]
async fn a_body_that_drips_for_ever_meets_the_total_limit() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let server = Server::new(endless(head, b"1\r\nx\r\n")).await;
    let (client, stats) = Setup::open().limits(|limits| limits.total = 4 * SHORT).client();
    let error = failure(&client, &uri(&server)).await;
    assert!(matches!(error, Error::HttpResponseTimeout), "{error:?}");
    assert_eq!(outcomes(&stats), [("timeout", 1)]);
}

#[tokio::test]
async fn a_head_that_drips_for_ever_meets_the_total_limit() {
    let server = Server::new(endless("HTTP/1.1 200 OK\r\n", b"x")).await;
    let (client, _) = Setup::open().limits(|limits| limits.total = 4 * SHORT).client();
    let error = failure(&client, &uri(&server)).await;
    assert!(matches!(error, Error::HttpResponseTimeout), "{error:?}");
}

#[tokio::test]
async fn an_announced_size_over_the_limit_is_not_read() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 100000000\r\n\r\n").await;
    let (client, stats) = Setup::open().limits(|limits| limits.max_response_body = 1000).client();
    let error = get(&client, &uri(&server)).await.unwrap_err();
    assert!(matches!(error, Error::HttpResponseBodySize(Some(100_000_000))), "{error:?}");
    assert_eq!((stats.in_flight(), outcomes(&stats)), (0, vec![("limit", 1)]));
}

#[tokio::test]
async fn a_size_that_is_not_announced_is_counted() {
    let body = |bytes| format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(bytes));
    let (client, _) = Setup::open().limits(|limits| limits.max_response_body = 1000).client();
    let fits = Server::new(Then::SayAndClose(body(1000).into())).await;
    assert_eq!(read(get(&client, &uri(&fits)).await.unwrap()).await.unwrap().len(), 1000);
    let chunks = b"400\r\n".iter().copied().chain([b'x'; 0x400]).chain(*b"\r\n").collect::<Vec<_>>();
    let over = Server::new(Then::SayAndClose(body(1001).into())).await;
    let chunked = endless("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &chunks);
    for server in [over, Server::new(chunked).await] {
        let error = failure(&client, &uri(&server)).await;
        assert!(matches!(error, Error::HttpResponseBodySize(Some(1000))), "{error:?}");
    }
}

#[tokio::test]
async fn a_head_over_the_limit_is_refused() {
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(100_000));
    let server = Server::saying(&head).await;
    let (client, stats) = Setup::open().limits(|limits| limits.max_response_head = 16 << 10).client();
    let error = failure(&client, &uri(&server)).await;
    assert!(matches!(error, Error::HttpResponseHeaderSectionSize(_)), "{error:?}");
    assert_eq!(outcomes(&stats), [("limit", 1)]);
}

#[tokio::test]
async fn a_look_up_that_never_ends_meets_the_connect_limit() {
    let setup = Setup { names: Names::Silent, ..Setup::open() };
    let (client, _) = setup.limits(|limits| limits.connect = SHORT).client();
    let error = failure(&client, "http://name.test/").await;
    assert!(matches!(error, Error::DnsTimeout), "{error:?}");
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends_meets_the_connect_limit() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (client, _) = Setup::open().limits(|limits| limits.connect = 4 * SHORT).client();
    let error = failure(&client, &format!("https://{}/", listener.local_addr().unwrap())).await;
    assert!(matches!(error, Error::ConnectionTimeout), "{error:?}");
}

#[tokio::test]
async fn concurrent_requests_are_bounded_and_so_is_who_waits() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let setup = Setup::open().limits(|limits| {
        limits.max_concurrent = 1;
        limits.max_waiting = 1;
    });
    let (client, stats) = setup.client();
    let first = get(&client, &uri(&server)).await.unwrap();
    let waiting = tokio::spawn({
        let (client, uri) = (client.clone(), uri(&server));
        async move { read(get(&client, &uri).await.unwrap()).await.unwrap() }
    });
    // The runtime has one thread. The second request runs until it waits.
    tokio::task::yield_now().await;
    let refused = get(&client, &uri(&server)).await.unwrap_err();
    assert!(matches!(refused, Error::ConnectionLimitReached), "{refused:?}");
    assert_eq!(read(first).await.unwrap(), "ok");
    assert_eq!(waiting.await.unwrap(), "ok");
    assert_eq!((stats.in_flight(), outcomes(&stats)), (0, vec![("2xx", 2), ("limit", 1)]));
}

#[tokio::test]
async fn a_place_that_does_not_come_free_in_time_is_an_error() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (client, _) =
        Setup::open().limits(|limits| (limits.max_concurrent, limits.connect) = (1, 4 * SHORT)).client();
    let _held = get(&client, &uri(&server)).await.unwrap();
    let error = failure(&client, &uri(&server)).await;
    assert!(matches!(error, Error::ConnectionLimitReached), "{error:?}");
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn connections_are_bounded_in_all_and_only_idle_ones_close_for_others() {
    let (one, other) = (Server::saying(OK).await, Server::saying(OK).await);
    let (client, stats) =
        Setup::open().limits(|limits| (limits.max_open, limits.connect) = (1, 4 * SHORT)).client();
    // A connection that is kept for the next request to the same server holds the only place, and gives it.
    for server in [&one, &other, &other, &one] {
        assert_eq!(read(get(&client, &uri(server)).await.unwrap()).await.unwrap(), "ok");
    }
    assert_eq!((one.connections(), other.connections(), stats.reclaimed()), (2, 1, 2));
    // A connection whose response is not read to its end is in use.
    let held = get(&client, &uri(&one)).await.unwrap();
    assert!(matches!(get(&client, &uri(&other)).await, Err(Error::ConnectionTimeout)));
    assert_eq!((other.connections(), stats.connections()), (1, 1));
    assert_eq!(read(held).await.unwrap(), "ok");
    assert_eq!(outcomes(&stats), [("2xx", 5), ("timeout", 1)]);
}

#[tokio::test]
async fn a_request_that_waits_for_a_connection_gets_the_place_of_one_that_has_ended() {
    let (one, server) = (Server::saying(OK).await, Server::saying(OK).await);
    let (client, _) = Setup::open().limits(|limits| limits.max_open = 1).client();
    let held = get(&client, &uri(&one)).await.unwrap();
    let other = uri(&server);
    let mut waiting = Box::pin(get(&client, &other));
    assert!(tokio::time::timeout(SHORT, &mut waiting).await.is_err());
    assert_eq!(read(held).await.unwrap(), "ok");
    assert_eq!(read(waiting.await.unwrap()).await.unwrap(), "ok");
}

#[tokio::test]
async fn an_idle_connection_of_another_thread_gives_its_place() {
    let (one, other) = (Server::saying(OK).await, Server::saying(OK).await);
    let settings = OutboundSettings { limits: Limits { max_open: 1, ..patient() }, ..Default::default() };
    let outbound = Arc::new(Outbound::new(settings).unwrap());
    let policy = Arc::new(Policy::new(
        AllowList::parse(&[one.address, other.address].map(|address| format!("http://{address}"))).unwrap(),
        Vec::new(),
    ));
    let stats = Arc::new(Stats::new(&policy));
    // A client belongs to the runtime of its thread.
    let client = move || Client::new(outbound.clone(), policy.clone(), stats.clone());
    let (answered, first) = tokio::sync::oneshot::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let thread = std::thread::spawn({
        let (client, uri) = (client.clone(), uri(&one));
        move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = client();
                answered.send(read(get(&client, &uri).await.unwrap()).await.unwrap()).unwrap();
                let _ = stopped.await;
            });
        }
    });
    assert_eq!(first.await.unwrap(), "ok");
    assert_eq!(read(get(&client(), &uri(&other)).await.unwrap()).await.unwrap(), "ok");
    drop(stop);
    thread.join().unwrap();
}
