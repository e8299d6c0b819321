//! Response splitting and log injection: neither a component's response nor a client's headers can forge a response or a log line.

use testkit::{Host, http::raw};

use crate::harness::start_guest;

#[tokio::test]
async fn a_component_cannot_forge_a_head_or_speak_for_the_connection() {
    let host = start_guest("service", &[]).await;
    let tricks = [
        "crlf",
        "lf",
        "cr",
        "nul",
        "head",
        "name",
        "space",
        "length",
        "lengths",
        "id",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "upgrade",
        "proxy-connection",
        "http2-settings",
        "te",
        "trailer",
    ];
    for trick in tricks {
        // The next response on the connection must be the response to the next request.
        let requests = format!(
            "GET /forge/{trick} HTTP/1.1\r\nHost: a\r\n\r\nGET /hello/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(host.address(), requests.as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{trick}: {answer}");
        assert!(answer.ends_with("\r\n\r\nhello next"), "{trick}: {answer}");
        let head = answer.split("\r\n\r\n").next().unwrap();
        let fields: Vec<_> = head.lines().skip(1).map(|line| line.split_once(": ").unwrap()).collect();
        let of = |name: &str| fields.iter().filter(|field| field.0 == name).count();
        assert_eq!(
            (of("x-injected"), of("transfer-encoding"), of("content-length")),
            (0, 0, 1),
            "{trick}: {head}"
        );
        assert!(of("x-request-id") == 1 && !head.contains("x-request-id: x-injected"), "{trick}: {head}");
        if !["id", "te", "trailer"].contains(&trick) {
            assert!(answer.contains("refused HeaderError"), "{trick}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_component_that_announces_another_length_spoils_its_own_answer_alone() {
    for guest in ["service", "proxy"] {
        let host = start_guest(guest, &[]).await;
        for trick in ["short", "long"] {
            let requests = format!(
                "GET /{trick} HTTP/1.1\r\nHost: a\r\n\r\nGET /hello/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            );
            let answer = raw(host.address(), requests.as_bytes()).await;
            // The next response follows the announced length, or the connection ends before it.
            match answer.split_once("\r\n\r\n") {
                None => assert_eq!(answer, "", "{guest} {trick}"),
                Some((head, rest)) => {
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                    let length: usize = length.unwrap_or_else(|| panic!("{head}")).parse().unwrap();
                    let next = rest.get(length..).unwrap_or_default();
                    assert!(
                        next.is_empty() || next.starts_with("HTTP/1.1 200 OK\r\n"),
                        "{guest} {trick}: {answer}"
                    );
                    assert!(next.is_empty() || next.contains("hello next"), "{guest} {trick}: {answer}");
                }
            }
            assert_eq!(host.get("/hello/after").await.text(), "hello after");
        }
    }
}

#[tokio::test]
async fn answers_that_have_no_body_leave_the_connection_in_step() {
    let host = start_guest("service", &[]).await;
    for first in
        ["GET /status/204", "GET /status/304", "HEAD /hello/long", "HEAD /bytes/100000", "GET /interim"]
    {
        let requests = format!(
            "{first} HTTP/1.1\r\nHost: a\r\n\r\nGET /hello/next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        );
        let answer = raw(host.address(), requests.as_bytes()).await;
        let mut parts = answer.splitn(2, "\r\n\r\n");
        let (head, rest) = (parts.next().unwrap(), parts.next().unwrap_or_default());
        let body = if head.contains(" 500 ") {
            head.lines().find_map(|line| line.strip_prefix("content-length: "))
        } else {
            None
        };
        let body: usize = body.map_or(0, |length| length.parse().unwrap());
        let next = &rest[body..];
        assert!(
            next.starts_with("HTTP/1.1 200 OK\r\n") && next.ends_with("\r\n\r\nhello next"),
            "{first}: {answer}"
        );
    }
}

async fn start_with_debug_log() -> Host {
    start_guest("service", &["--log-level", "debug"]).await
}

/// The testkit asserts that each line of the log is a JSON object, so no line was split.
fn assert_no_line_is_forged(host: &Host) {
    assert!(host.lines().iter().all(|line| line["level"] != "forged" && line["message"].is_string()));
}

#[tokio::test]
async fn a_request_id_of_a_client_is_kept_only_if_it_is_well_formed() {
    let host = start_with_debug_log().await;
    let long = "x".repeat(129);
    for (id, taken) in [
        ("abc-1", true),
        ("a b", false),
        ("a\"b", false),
        ("{}", false),
        ("\u{e4}", false),
        (&*long, false),
        ("", false),
    ] {
        let request =
            format!("GET /headers HTTP/1.1\r\nHost: a\r\nX-Request-Id: {id}\r\nConnection: close\r\n\r\n");
        let answer = raw(host.address(), request.as_bytes()).await;
        let told: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("x-request-id: ")).collect();
        // In the head of the response, and in its body as the component sees the header.
        assert!(told.len() == 2 && told[0] == told[1], "{answer}");
        assert_eq!(told[0] == id, taken, "{answer}");
        assert!(
            taken || (told[0].len() == 32 && told[0].bytes().all(|byte| byte.is_ascii_hexdigit())),
            "{answer}"
        );
    }
    assert_no_line_is_forged(&host);
}

#[tokio::test]
async fn a_trace_of_a_client_is_continued_only_if_it_is_well_formed() {
    let host = start_with_debug_log().await;
    let good = "4bf92f3577b34da6a3ce929d0e0e4736";
    for (number, (parent, taken)) in [
        (format!("00-{good}-00f067aa0ba902b7-01"), true),
        (format!("00-{good}\"-00f067aa0ba902b7-01"), false),
        (format!("00-{}-00f067aa0ba902b7-01", good.to_uppercase()), false),
        ("00-\u{e4}".to_owned(), false),
        ("\",\"level\":\"forged".to_owned(), false),
    ]
    .into_iter()
    .enumerate()
    {
        let request = format!(
            "GET /hello/{number} HTTP/1.1\r\nHost: a\r\nTraceparent: {parent}\r\nConnection: close\r\n\r\n"
        );
        raw(host.address(), request.as_bytes()).await;
        let line = host.wait_for_line(|line| line["path"] == format!("/hello/{number}")).await;
        assert_eq!(line["trace_id"] == good, taken, "{parent}: {line}");
    }
    assert_no_line_is_forged(&host);
}

#[tokio::test]
async fn nothing_in_a_request_is_unescaped_in_the_log() {
    let host = start_with_debug_log().await;
    // A line break or a terminal's escape can be in a target only if it is encoded. The log quotes what can be in a target.
    for target in [
        "/hello/%0a%7b%22level%22:%22forged%22%7d",
        "/hello/%1b[2J",
        "/hello/\u{9b}2J\u{85}\u{2028}",
        "/hello/\"\\,\"level\":\"forged",
    ] {
        let request =
            format!("GET {target} HTTP/1.1\r\nHost: a\r\nUser-Agent: a\"b\\\r\nConnection: close\r\n\r\n");
        assert!(raw(host.address(), request.as_bytes()).await.starts_with("HTTP/1.1 200 "));
        host.wait_for_line(|line| line["path"] == target && line["level"] == "INFO").await;
    }
    for request in [
        "GET /hello/\n{\"level\":\"forged\"} HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hello/\x1b[2J HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /hello/x HTTP/1.1\r\nHost: a\r\nUser-Agent: \x1b[2J\r\n\r\n",
        "GET /hello/x HTTP/1.1\r\nHost: \"forged\"\r\nConnection: close\r\n\r\n",
        "\"forged\" /hello/x HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let answer = raw(host.address(), request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{request:?}: {answer}");
    }
    assert_no_line_is_forged(&host);
}
