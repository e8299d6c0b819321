//! Who sends a request: in the access log, and as a component sees it. Requests that come back in a loop.

use testkit::Host;

use crate::harness::start_guest;

/// What the component and the access log say of the client of a request with these headers.
async fn seen(host: &Host, id: &str, headers: &[(&str, &str)]) -> (Vec<String>, String) {
    let request = host.request("GET", "/headers").header("x-request-id", id);
    let answer =
        headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await;
    let names = ["forwarded", "spin-client-addr"];
    let is_named = |line: &&str| names.iter().any(|name| line.starts_with(&format!("{name}: ")));
    let mut lines: Vec<_> = answer.text().lines().filter(is_named).map(str::to_owned).collect();
    lines.sort();
    let line = host.wait_for_line(|line| line["request_id"] == id).await;
    (lines, line["client"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_client_cannot_say_that_it_is_another() {
    let host = start_guest("service", &[]).await;
    let claims = [
        ("x-forwarded-for", "192.0.2.1"),
        ("forwarded", "for=192.0.2.1"),
        ("spin-client-addr", "192.0.2.1:80"),
        ("Spin-Client-Addr", "192.0.2.2:80"),
    ];
    for (id, claims) in [("without", &[][..]), ("with", &claims)] {
        let (lines, client) = seen(&host, id, claims).await;
        assert_eq!(client, "127.0.0.1");
        assert!(lines.len() == 2, "{lines:?}");
        assert!(lines[0].starts_with("forwarded: for=\"127.0.0.1:"), "{lines:?}");
        assert!(lines[1].starts_with("spin-client-addr: 127.0.0.1:"), "{lines:?}");
    }
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client() {
    let host = start_guest("service", &["--trusted-proxies", "10.0.0.0/8,127.0.0.0/8"]).await;
    let chain = [("x-forwarded-for", "203.0.113.7, 192.0.2.1, 10.1.2.3"), ("forwarded", "for=203.0.113.8")];
    let (lines, client) = seen(&host, "chain", &chain).await;
    assert_eq!(lines, ["forwarded: for=192.0.2.1", "spin-client-addr: 192.0.2.1:0"]);
    assert_eq!(client, "192.0.2.1");
    let flags = ["--trusted-proxies", "127.0.0.1/32", "--trusted-proxies-header", "forwarded"];
    let host = start_guest("service", &flags).await;
    let (lines, client) = seen(&host, "forwarded", &[("forwarded", "for=\"[2001:db8::1]:99\"")]).await;
    assert_eq!(lines, ["forwarded: for=\"[2001:db8::1]:99\"", "spin-client-addr: [2001:db8::1]:99"]);
    assert_eq!(client, "2001:db8::1");
}

#[tokio::test]
async fn a_loop_through_other_servers_ends() {
    // The component asks the host's own address, as a proxy in between would. It passes no header on.
    let host = start_guest("service", &["--allowed-outbound-host", "http://127.0.0.1:*"]).await;
    let answer = host.get(&format!("/loop/{}", host.address())).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().ends_with(r#"508 {"detail":"Loop Detected"}"#), "{}", answer.text());
    assert_eq!(answer.text().matches("200 ").count(), 15, "{}", answer.text());
    // A request that has passed a few times is served.
    let passed = ["other"; 3].join(", wasi-http-host, ");
    let served = host.request("GET", "/hello/x").header("cdn-loop", &passed).send().await;
    assert_eq!(served.text(), "hello x");
}
