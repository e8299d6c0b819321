//! No answer of one client's reaches another, and no client chooses what others get.

use testkit::http::http2;
use tokio::net::TcpStream;

use super::{FRESH, get, get_with, number, start, status};

#[tokio::test]
async fn what_is_made_for_one_client_reaches_no_other() {
    let host = start(&[]).await;
    let authorized = [("authorization", "Basic dTpw")];
    for (path, answer, headers) in [
        ("/answer/authorization", FRESH, &authorized[..]),
        ("/answer/private", "cache-control: private, max-age=60", &[]),
        ("/answer/no-store", "cache-control: no-store, max-age=60", &[]),
        ("/answer/set-cookie", "cache-control: max-age=60|set-cookie: id=1", &[]),
        ("/answer/vary", "cache-control: max-age=60|vary: cookie", &[("cookie", "id=1")]),
        ("/answer/everything", "cache-control: max-age=60|vary: *", &[]),
        ("/answer/assumed", "last-modified: Sun, 06 Nov 1994 08:49:37 GMT", &[("cookie", "id=1")]),
    ] {
        let first = get_with(&host, path, answer, headers).await;
        let second = get_with(&host, path, answer, &[("cookie", "id=2")]).await;
        assert_ne!(number(&first), number(&second), "{path}");
        assert!(status(&second).contains("fwd="), "{path}");
    }
}

/// A component sees these fields as the host writes them, and the cache as the client does.
#[tokio::test]
async fn a_response_that_varies_by_what_the_host_writes_is_not_shared() {
    let host = start(&[]).await;
    for name in
        ["x-request-id", "forwarded", "spin-client-addr", "client-cert", "client-cert-chain", "traceparent"]
    {
        let (path, answer) = (format!("/answer/{name}"), format!("{FRESH}|vary: {name}"));
        let headers = [(name, "forged")];
        let first = get_with(&host, &path, &answer, &headers).await;
        assert_ne!(number(&first), number(&get_with(&host, &path, &answer, &headers).await), "{name}");
    }
}

#[tokio::test]
async fn fields_of_the_first_request_are_not_replayed() {
    let host = start(&[]).await;
    let answer = format!("{FRESH}|x-request-id: of-the-component|age: 7");
    let first = get_with(&host, "/answer/", &answer, &[("x-request-id", "first")]).await;
    assert_eq!(first.header("x-request-id"), Some("first"));
    let second = get_with(&host, "/answer/", &answer, &[("x-request-id", "second")]).await;
    assert_eq!((number(&second), second.header("x-request-id")), (1, Some("second")));
}

#[tokio::test]
async fn the_host_is_a_part_of_the_address_and_read_as_the_component_reads_it() {
    let host = start(&[]).await;
    let mut served = 0;
    for name in ["a.test", "b.test", "A.test", "a.test:80", "a.test."] {
        let answer = get_with(&host, "/answer/", FRESH, &[("host", name)]).await;
        served += 1;
        assert_eq!(number(&answer), served, "{name}");
    }
    // The authority of the target outranks the field.
    let answer = get_with(&host, "http://b.test/answer/", FRESH, &[("host", "a.test")]).await;
    assert_eq!(number(&answer), 2);
    // A request that is not valid is refused, and not answered out of the cache.
    for bytes in [
        "GET /answer/ HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\nConnection: close\r\n\r\n",
        "GET /answer/ HTTP/1.1\r\nHost: u@a.test\r\nConnection: close\r\n\r\n",
        "GET /answer/ HTTP/1.1\r\nConnection: close\r\n\r\n",
    ] {
        let answer = testkit::http::raw(host.address(), bytes.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bytes:?}: {answer}");
    }
}

#[tokio::test]
async fn a_field_that_the_component_does_not_see_selects_nothing() {
    let host = start(&[]).await;
    let answer = format!("{FRESH}|vary: x-tenant");
    assert_eq!(number(&get_with(&host, "/answer/", &answer, &[("x-tenant", "a")]).await), 1);
    // `Connection` names the field, so that the component does not see it.
    let hidden = [("x-tenant", "a"), ("connection", "x-tenant")];
    assert_eq!(number(&get_with(&host, "/answer/", &answer, &hidden).await), 2);
    assert_eq!(number(&get(&host, "/answer/", &answer).await), 2);
    assert_eq!(number(&get_with(&host, "/answer/", &answer, &[("x-tenant", "a")]).await), 1);
}

#[tokio::test]
async fn a_client_cannot_go_around_the_cache_unless_a_flag_allows_it() {
    for (flags, served) in [(&[][..], 1), (&["--response-cache-request-directives"], 2)] {
        let host = start(flags).await;
        get(&host, "/answer/", FRESH).await;
        let answer = get_with(&host, "/answer/", FRESH, &[("cache-control", "no-cache")]).await;
        assert_eq!(number(&answer), served);
    }
}

#[tokio::test]
async fn a_body_and_a_coding_are_not_hidden_from_the_checks() {
    let host = start(&[]).await;
    get_with(&host, "/answer/", FRESH, &[("host", "a.test")]).await;
    let body = "GET /answer/ HTTP/1.1\r\nHost: a.test\r\nX-Answer: 200\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
    let answer = testkit::http::raw(host.address(), body.as_bytes()).await;
    assert!(answer.contains("2 Method::Get"), "a request with a body goes to the component: {answer}");
    let coded =
        "GET /answer/ HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: gzip\r\nConnection: close\r\n\r\n";
    let answer = testkit::http::raw(host.address(), coded.as_bytes()).await;
    assert!(!answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

#[tokio::test]
async fn the_pseudo_headers_of_http_2_are_the_address() {
    let host = start(&[]).await;
    let mut client = http2::connect(TcpStream::connect(host.address()).await.unwrap()).await;
    let mut ask = async |url: &str, fields: &[(&str, &str)]| {
        let mut request = http2::get(url);
        for (name, value) in [("x-answer", FRESH)].iter().chain(fields) {
            request.headers_mut().append(http::HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        http2::send(&mut client, request).await.unwrap()
    };
    // `:authority` names one server, and the field another one.
    assert_eq!(ask("http://a.test/answer/", &[("host", "b.test")]).await.status, 400);
    assert_eq!(ask("http://u@a.test/answer/", &[]).await.status, 400);
    for (url, fields, served) in [
        ("http://a.test/answer/", &[][..], 1),
        ("http://b.test/answer/", &[], 2),
        ("http://a.test/answer/", &[("host", "a.test")], 1),
        ("http://a.test:80/answer/", &[], 3),
        ("http://a.test/answer/", &[("x-forwarded-host", "b.test"), ("x-original-url", "/answer/b")], 1),
    ] {
        assert_eq!(number(&ask(url, fields).await), served, "{url} {fields:?}");
    }
}

#[tokio::test]
async fn a_field_that_is_not_in_the_address_selects_by_vary_alone() {
    let host = start(&[]).await;
    let mut served = 0;
    for name in [
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-forwarded-prefix",
        "x-original-url",
        "x-http-method-override",
        "origin",
        "user-agent",
    ] {
        let (path, varied) = (format!("/answer/{name}"), format!("{FRESH}|vary: {name}"));
        for value in ["a", "b", ",a", "a,"] {
            served += 1;
            let first = get_with(&host, &path, &varied, &[(name, value)]).await;
            let again = get_with(&host, &path, &varied, &[(name, value)]).await;
            assert_eq!((number(&first), number(&again)), (served, served), "{name}: {value}");
        }
        // A component that does not say so has the same response for all.
        let path = format!("/answer/all/{name}");
        served += 1;
        for value in ["a", "b"] {
            assert_eq!(number(&get_with(&host, &path, FRESH, &[(name, value)]).await), served, "{name}");
        }
    }
}

#[tokio::test]
async fn encodings_of_an_address_or_of_a_response_are_not_the_same() {
    let host = start(&[]).await;
    let mut served = 0;
    for path in ["a", "%61", "%2561", "A", "./a", "/a", "a/", "a?", "a?b", "a%3Fb", "a;b", "b/../a"] {
        served += 1;
        assert_eq!(number(&get(&host, &format!("/answer/{path}"), FRESH).await), served, "{path}");
    }
    // The component has forgotten `Vary: Accept-Encoding`.
    let coded = format!("{FRESH}|content-encoding: x");
    let accepting = async |coding: &str| {
        number(&get_with(&host, "/answer/coded", &coded, &[("accept-encoding", coding)]).await)
    };
    assert_eq!([accepting("x").await, accepting("identity").await, accepting("x").await], [13, 14, 13]);
    assert_eq!(number(&get(&host, "/answer/coded", &coded).await), 15, "who accepts nothing");
}
