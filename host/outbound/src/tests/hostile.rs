//! Attacks by a guest and by an upstream server.

use super::server::Then;
use super::*;
use wasi_http_host_egress::Proxies;

fn endless(first: &str, again: &str) -> Then {
    Then::Repeat(first.into(), again.into(), Duration::ZERO)
}

#[tokio::test]
async fn a_trace_is_refused_for_it_would_show_a_proxys_password() {
    let proxy = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut setup = Setup::open();
    setup.settings.proxies = Proxies::new("", &format!("http://user:pass@{}", proxy.address), "").unwrap();
    let (client, _) = setup.client();
    let mut request = request("http://name.test/");
    *request.method_mut() = http::Method::TRACE;
    let refused = client.send(request, RequestOptions::default()).await.unwrap_err();
    assert!(matches!(refused, Error::HttpRequestMethodInvalid), "{refused:?}");
    assert_eq!(proxy.connections(), 0);
}

/// A guest cannot change the password that the operator has set for a proxy, and no other server gets the password.
#[tokio::test]
async fn a_proxys_password_goes_to_the_proxy_alone() {
    let proxy = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let direct = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut setup = Setup::open();
    let url = format!("http://user:pass@{}", proxy.address);
    setup.settings.proxies = Proxies::new("", &url, "127.0.0.1").unwrap();
    let (client, _) = setup.client();
    get(&client, "http://name.test/").await.unwrap();
    get(&client, &uri(&direct)).await.unwrap();
    assert!(proxy.heads()[0].contains("proxy-authorization: Basic "));
    assert!(!direct.heads()[0].to_ascii_lowercase().contains("proxy-authorization"));
}

#[tokio::test]
async fn interim_responses_without_end_meet_the_first_byte_limit() {
    let server = Server::new(endless("", "HTTP/1.1 100 Continue\r\n\r\n")).await;
    let (client, stats) = Setup::open().limits(|limits| limits.first_byte = 4 * SHORT).client();
    let error = failure(&client, &uri(&server)).await;
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error:?}");
    assert_eq!((stats.in_flight(), outcomes(&stats)), (0, vec![("timeout", 1)]));
}

#[tokio::test]
async fn headers_without_end_are_too_many() {
    let server = Server::new(endless("HTTP/1.1 200 OK\r\n", &"a: b\r\n".repeat(100))).await;
    let (client, _) = Setup::open().client();
    let error = failure(&client, &uri(&server)).await;
    assert!(matches!(error, Error::HttpResponseHeaderSectionSize(_)), "{error:?}");
}

#[tokio::test]
async fn trailers_and_chunk_extensions_without_end_break_the_body_off() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = &"x".repeat(1000);
    for (first, again) in [
        (format!("{head}0\r\n"), format!("x-{chunk}: y\r\n")),
        (format!("{head}5;"), format!("x={chunk};")),
        (format!("{head}5;x="), chunk.clone()),
    ] {
        let server = Server::new(endless(&first, &again)).await;
        let (client, _) = Setup::open().client();
        let error = failure(&client, &uri(&server)).await;
        assert!(matches!(error, Error::HttpProtocolError), "{first:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_head_that_others_could_read_otherwise_is_an_error() {
    for head in [
        "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\rb\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx : a\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nx: a\r\n folded: b\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 99 Low\r\ncontent-length: 0\r\n\r\n",
        "HTTP/3.0 200 OK\r\ncontent-length: 0\r\n\r\n",
    ] {
        let server = Server::new(Then::SayAndClose(head.into())).await;
        let (client, stats) = Setup::open().client();
        let error = failure(&client, &uri(&server)).await;
        assert!(matches!(error, Error::HttpProtocolError), "{head:?}: {error:?}");
        assert_eq!(stats.in_flight(), 0);
    }
}

/// The guest asked for no other protocol. The bytes after the response's head are not read as a response and not
/// passed on.
#[tokio::test]
async fn an_upgrade_that_nobody_asked_for_leads_nowhere() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\nraw bytes";
    let server = Server::saying(switch).await;
    let (client, _) = Setup::open().limits(|limits| limits.total = 20 * SHORT).client();
    for _ in 0..2 {
        match get(&client, &uri(&server)).await {
            Ok(response) => {
                assert!(!response.headers().contains_key("upgrade"));
                let body = read(response).await;
                assert!(body.as_ref().map_or(true, Bytes::is_empty), "{body:?}");
            }
            Err(error) => assert!(matches!(error, Error::HttpProtocolError), "{error:?}"),
        }
    }
    assert_eq!(server.connections(), 2, "the connection is not used again");
}

#[tokio::test]
async fn a_redirect_that_leads_to_itself_is_one_answer() {
    let again = "HTTP/1.1 301 Moved\r\nlocation: /path\r\ncontent-length: 0\r\n\r\n";
    let server = Server::saying(again).await;
    let (client, _) = Setup::open().client();
    assert_eq!(get(&client, &uri(&server)).await.unwrap().status(), 301);
    assert_eq!(server.heads().len(), 1);
}

/// The guest has forgotten the response, or keeps it to use up all permits.
#[tokio::test]
async fn a_response_that_nobody_reads_gives_its_place_back_at_the_total_limit() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let limits = |limits: &mut Limits| {
        (limits.total, limits.max_concurrent) = (40 * SHORT, 1);
    };
    let (client, stats) = Setup::open().limits(limits).client();
    let unread = get(&client, &uri(&server)).await.unwrap();
    // This request waits for the permit.
    let next = get(&client, &uri(&server)).await;
    // Its own total timeout may have ended by then.
    assert!(matches!(next, Ok(_) | Err(Error::HttpResponseTimeout)), "{next:?}");
    assert!(matches!(outcomes(&stats)[..], [("timeout", 1..)]), "{:?}", outcomes(&stats));
    assert!(matches!(read(unread).await, Err(Error::HttpResponseTimeout)));
}

#[tokio::test]
async fn a_component_that_takes_all_its_places_takes_nobody_elses() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let limits = Limits { max_concurrent: 2, max_waiting: 0, ..patient() };
    let settings = OutboundSettings { limits, ..OutboundSettings::default() };
    let outbound = Arc::new(Outbound::new(settings).unwrap());
    let policy =
        Arc::new(Policy::new(AllowList::parse(&[format!("http://{}", server.address)]).unwrap(), Vec::new()));
    let client =
        |stats: &Arc<Stats>| Client::new(Arc::clone(&outbound), Arc::clone(&policy), Arc::clone(stats));
    let (greedy, other) = (Arc::new(Stats::new(&policy)), Arc::new(Stats::new(&policy)));
    // Two clients of one component, as on two threads.
    let held = [get(&client(&greedy), &uri(&server)).await, get(&client(&greedy), &uri(&server)).await];
    assert!(held.iter().all(Result::is_ok), "{held:?}");
    let refused = get(&client(&greedy), &uri(&server)).await.unwrap_err();
    assert!(matches!(refused, Error::ConnectionLimitReached), "{refused:?}");
    assert!(get(&client(&other), &uri(&server)).await.is_ok());
}

#[tokio::test]
async fn a_component_that_keeps_connections_busy_leaves_the_others_their_share() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").await;
    let limits = Limits { max_open: 8, connect: 4 * SHORT, ..patient() };
    let outbound = Arc::new(Outbound::new(OutboundSettings { limits, ..Default::default() }).unwrap());
    let policy =
        Arc::new(Policy::new(AllowList::parse(&[format!("http://{}", server.address)]).unwrap(), Vec::new()));
    let [greedy, other] = [(); 2].map(|()| {
        let stats = Arc::new(Stats::new(&policy));
        Client::new(Arc::clone(&outbound), Arc::clone(&policy), stats)
    });
    let mut held = Vec::new();
    loop {
        match get(&greedy, &uri(&server)).await {
            Ok(response) => held.push(response),
            Err(Error::ConnectionTimeout) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    // Four of eight places are divided between the two components.
    assert_eq!(held.len(), 6);
    let others = [get(&other, &uri(&server)).await, get(&other, &uri(&server)).await];
    assert!(others.iter().all(Result::is_ok), "{others:?}");
}
