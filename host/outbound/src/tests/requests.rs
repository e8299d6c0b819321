//! Tests of requests and responses: policy, headers, connections and outcomes.

use super::server::Then;
use super::*;

#[tokio::test]
async fn an_answer_comes_whole_and_without_the_connections_own_headers() {
    let server = Server::saying(
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-a: b\r\nkeep-alive: timeout=5\r\nproxy-authenticate: x\r\n\r\nhello",
    )
    .await;
    let (client, stats) = Setup::open().client();
    let response = get(&client, &uri(&server)).await.unwrap();
    assert_eq!(response.status(), 200);
    let names: Vec<_> = response.headers().keys().map(http::HeaderName::as_str).collect();
    assert_eq!(names, ["content-length", "x-a"]);
    assert_eq!(stats.in_flight(), 1);
    assert_eq!(read(response).await.unwrap(), "hello");
    assert_eq!((stats.in_flight(), outcomes(&stats)), (0, vec![("2xx", 1)]));
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (client, _) = Setup::open().client();
    for _ in 0..5 {
        let response = get(&client, &uri(&server)).await.unwrap();
        assert_eq!(read(response).await.unwrap(), "ok");
    }
    assert_eq!((server.heads().len(), server.connections()), (5, 1));
}

#[tokio::test]
async fn the_host_is_told_in_canonical_form() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let (client, _) = Setup::open().client();
    let mut request = request(&format!("http://NAME.test.:{}/x?y", server.address.port()));
    request.headers_mut().insert("host", "other.test".parse().unwrap());
    client.send(request, RequestOptions::default()).await.unwrap();
    let head = server.heads().remove(0).to_ascii_lowercase();
    assert!(head.starts_with("get /x?y http/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: name.test:{}\r\n", server.address.port())), "{head}");
    assert!(!head.contains("other.test"), "{head}");
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::saying(
        "HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    let (client, stats) = Setup::open().client();
    let response = get(&client, &uri(&server)).await.unwrap();
    assert_eq!((response.status().as_u16(), server.heads().len()), (302, 1));
    drop(response);
    assert_eq!(outcomes(&stats), [("3xx", 1)]);
}

#[tokio::test]
async fn what_is_not_listed_is_denied_and_not_connected_to() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let setup = Setup { entries: vec!["http://name.test".to_owned()], ..Setup::open() };
    let (client, stats) = setup.client();
    assert!(matches!(failure(&client, &uri(&server)).await, Error::HttpRequestDenied));
    assert!(matches!(failure(&client, "http://u:p@name.test/").await, Error::HttpRequestUriInvalid));
    assert_eq!((server.connections(), stats.denied(), stats.in_flight()), (0, 2, 0));
}

#[tokio::test]
async fn a_tunnel_is_refused() {
    let server = Server::saying("HTTP/1.1 200 OK\r\n\r\n").await;
    let (client, _) = Setup::open().client();
    let mut request = request(&uri(&server));
    *request.method_mut() = http::Method::CONNECT;
    let refused = client.send(request, RequestOptions::default()).await.unwrap_err();
    assert!(matches!(refused, Error::HttpRequestMethodInvalid));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_where_it_is_connected_to() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    let named = || format!("http://name.test:{}", server.address.port());
    let closed = || Setup { entries: vec![named()], networks: Vec::new(), ..Setup::open() };
    let (client, stats) = closed().client();
    assert!(matches!(failure(&client, &named()).await, Error::DestinationIpProhibited));
    assert_eq!((server.connections(), outcomes(&stats)), (0, vec![("denied", 1)]));

    let listed = Setup { entries: vec![named(), format!("http://{}", server.address)], ..closed() };
    assert_eq!(get(&listed.client().0, &named()).await.unwrap().status(), 204);
    let networks = vec!["127.0.0.0/8".parse().unwrap()];
    let opened = Setup { networks, ..closed() };
    assert_eq!(get(&opened.client().0, &named()).await.unwrap().status(), 204);
}

#[tokio::test]
async fn of_several_addresses_the_next_is_tried() {
    let server = Server::saying("HTTP/1.1 204 No Content\r\n\r\n").await;
    // The first address refuses the connection. The policy forbids the second address.
    let addresses = ["127.0.0.2", "10.0.0.1", "127.0.0.1"];
    let names = Names::At(addresses.iter().map(|a| a.parse().unwrap()).collect());
    let (client, _) = Setup { names, ..Setup::open() }.client();
    let response = get(&client, &format!("http://name.test:{}/", server.address.port())).await;
    assert_eq!(response.unwrap().status(), 204);
}

#[tokio::test]
async fn who_does_not_answer_is_named() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (client, stats) = Setup::open().client();
    assert!(matches!(failure(&client, &format!("http://{free}/")).await, Error::ConnectionRefused));
    let (unknown, _) = Setup { names: Names::Unknown, ..Setup::open() }.client();
    assert!(matches!(failure(&unknown, "http://name.test/").await, Error::DnsError { .. }));
    assert_eq!(outcomes(&stats), [("connect", 1)]);
}

#[tokio::test]
async fn what_is_not_http_is_an_error() {
    for (then, expected) in [
        (Then::SayAndClose(b"nonsense\r\n\r\n".into()), "HttpProtocolError"),
        (Then::SayAndClose(Vec::new()), "HttpResponseIncomplete"),
        (Then::SayAndClose(b"HTTP/1.1 200 OK\r\ncontent-le".into()), "HttpResponseIncomplete"),
        (
            Then::SayAndClose(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort".into()),
            "HttpResponseIncomplete",
        ),
        (
            Then::SayAndClose(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe".into()),
            "HttpResponseIncomplete",
        ),
        (
            Then::Say(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nnot-hex\r\n".into()),
            "HttpProtocolError",
        ),
        (
            Then::Say(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nabc".into()),
            "HttpProtocolError",
        ),
    ] {
        let server = Server::new(then).await;
        let (client, stats) = Setup::open().client();
        let error = failure(&client, &uri(&server)).await;
        assert_eq!(format!("{error:?}"), expected);
        assert_eq!((stats.in_flight(), outcomes(&stats)), (0, vec![("protocol", 1)]));
    }
}

#[tokio::test]
async fn a_reset_is_an_error() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort";
    let server = Server::new(Then::SayAndReset(cut.into())).await;
    let (client, stats) = Setup::open().client();
    let error = failure(&client, &uri(&server)).await;
    // The reset may arrive before the data that was written before it.
    assert!(matches!(error, Error::ConnectionTerminated | Error::HttpResponseIncomplete), "{error:?}");
    assert_eq!(outcomes(&stats), [("protocol", 1)]);
}

#[tokio::test]
async fn more_than_was_announced_is_not_the_next_answer() {
    let first =
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 Smuggled\r\ncontent-length: 0\r\n\r\n";
    let server = Server::saying(first).await;
    let (client, _) = Setup::open().client();
    for _ in 0..3 {
        let response = get(&client, &uri(&server)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(read(response).await.unwrap(), "ok");
    }
    assert_eq!(server.connections(), 3, "a connection with surplus bytes is not used again");
}

#[tokio::test]
async fn a_guest_that_gives_up_is_counted_and_gives_its_place_back() {
    let server = Server::new(Then::Say(Vec::new())).await;
    let (client, stats) = Setup::open().limits(|limits| limits.max_concurrent = 1).client();
    let given_up = tokio::time::timeout(SHORT, get(&client, &uri(&server))).await;
    assert!(given_up.is_err());
    assert_eq!((stats.in_flight(), outcomes(&stats)), (0, vec![("abandoned", 1)]));
}
