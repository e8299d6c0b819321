//! Tests of requests through a proxy.

use super::*;
use wasi_http_host_egress::Proxies;

fn through(https: &str, http: &str) -> Setup {
    let mut setup = Setup { names: Names::Unknown, networks: Vec::new(), ..Setup::open() };
    setup.settings.proxies = Proxies::new(https, http, "direct.test").unwrap();
    setup
}

#[tokio::test]
async fn plain_requests_are_forwarded_in_absolute_form() {
    let proxy = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (client, _) = through("", &format!("http://user:pass@{}", proxy.address)).client();
    let response = get(&client, "http://name.test/path").await.unwrap();
    assert_eq!(read(response).await.unwrap(), "ok");
    let head = proxy.heads().remove(0);
    assert!(head.starts_with("GET http://name.test/path HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("proxy-authorization: Basic dXNlcjpwYXNz\r\n"), "{head}");
    assert!(head.contains("host: name.test\r\n"), "{head}");
}

#[tokio::test]
async fn tls_goes_through_a_tunnel() {
    let proxy = Server::saying("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    let (client, stats) = through(&format!("http://user:pass@{}", proxy.address), "").client();
    let error = failure(&client, "https://name.test/path").await;
    assert!(matches!(error, Error::DestinationUnavailable), "{error:?}");
    let head = proxy.heads().remove(0);
    assert!(head.starts_with("CONNECT name.test:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic dXNlcjpwYXNz\r\n"), "{head}");
    assert_eq!(outcomes(&stats), [("connect", 1)]);
}

#[tokio::test]
async fn the_policy_holds_before_a_proxy_too() {
    let proxy = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (client, _) = through("", &format!("http://{}", proxy.address)).client();
    for inside in ["http://10.0.0.1/", "http://0xa9fea9fe/", "http://[::1]/"] {
        let error = failure(&client, inside).await;
        assert!(matches!(error, Error::DestinationIpProhibited), "{inside}: {error:?}");
    }
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn exceptions_go_straight() {
    let proxy = Server::saying("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let (client, _) = through("", &format!("http://{}", proxy.address)).client();
    let error = failure(&client, "http://direct.test/").await;
    assert!(matches!(error, Error::DnsError { .. }), "{error:?}");
    assert_eq!(proxy.connections(), 0);
}
