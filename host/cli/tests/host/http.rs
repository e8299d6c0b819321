//! Malformed requests.

use testkit::http::raw;

use crate::harness::start_guest;

#[tokio::test]
async fn malformed_heads_are_refused() {
    let mut host = start_guest("service", &[]).await;
    let cases: [(&[u8], &str); 12] = [
        (b"GET /\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nBad\r\n\r\n", "400"),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", "400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n", "400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "400"),
        (b"\0\x01\x02\xff\xfe garbage\r\n\r\n", "400"),
    ];
    for (bytes, status) in cases {
        // Some responses leave the connection open: ask the host to close it.
        let text = String::from_utf8_lossy(bytes).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        let bytes = if bytes.is_ascii() && status == "400" && text.contains("HTTP/1.1") {
            text.into_bytes()
        } else {
            bytes.to_vec()
        };
        let answer = raw(host.address(), &bytes).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{:?} → {answer:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
    assert!(host.is_running());
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

#[tokio::test]
async fn one_length_counts_where_two_are_announced() {
    let host = start_guest("service", &[]).await;
    // With both, the encoding counts (RFC 9112, section 6.3): the rest is another request, not a part of the body.
    let smuggled =
        b"POST /count-body HTTP/1.1\r\nHost: a\r\nContent-Length: 60\r\nTransfer-Encoding: chunked\r\n\r\n\
                     3\r\nabc\r\n0\r\n\r\nGET /hello/second HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answers = raw(host.address(), smuggled).await;
    assert!(answers.contains("\r\n\r\n3"), "{answers}");
    assert!(answers.ends_with("hello second") || answers.matches("HTTP/1.1").count() == 1, "{answers}");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let host = start_guest("service", &["--max-header-bytes", "8KiB"]).await;
    let large = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Large: {}\r\n\r\n", "x".repeat(20_000));
    let answer = raw(host.address(), large.as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many: String = (0..200).map(|at| format!("x-{at}: 1\r\n")).collect();
    let answer = raw(host.address(), format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    assert_eq!(host.get("/hello/after").await.text(), "hello after");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_or_broken_off() {
    let host = start_guest("service", &["--max-request-body", "1KiB"]).await;
    let answer = host.post("/count-body", vec![b'x'; 1024]).await;
    assert_eq!((answer.status, answer.text()), (200, "1024"));
    let head = b"POST /count-body HTTP/1.1\r\nHost: a\r\nContent-Length: 1025\r\nConnection: close\r\n\r\n";
    let answer = raw(host.address(), head).await;
    assert!(
        answer.starts_with("HTTP/1.1 413 ") && answer.ends_with(r#"{"detail":"Payload Too Large"}"#),
        "{answer}"
    );
    // Without an announced length, the guest gets the error when it has read as much as the limit.
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024)).repeat(2);
    let request = format!(
        "POST /count-body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunk}0\r\n\r\n"
    );
    let answer = raw(host.address(), request.as_bytes()).await;
    assert!(answer.contains("error ErrorCode::HttpRequestBodySize"), "{answer}");
}

#[tokio::test]
async fn a_tunnel_is_not_to_be_had() {
    let host = start_guest("service", &[]).await;
    let answer =
        raw(host.address(), b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 501 "), "{answer}");
}

#[tokio::test]
async fn an_absolute_target_outranks_the_host_header() {
    let host = start_guest("service", &[]).await;
    let answer = host.request("GET", "http://inside.example/target/x").header("host", "outside").send().await;
    assert_eq!(answer.text(), "Some(Scheme::Http) inside.example /target/x");
}
