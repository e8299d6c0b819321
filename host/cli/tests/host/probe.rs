//! `probe`: the health check of a container.

use std::{fs, net::SocketAddr};

use testkit::{paths::scratch, ports};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{run_in, start_app, start_guest};

/// The exit code and the output, which is one line.
#[track_caller]
fn probe(args: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let output = run_in(&[&["probe"][..], args].concat(), environment);
    let all = [output.stdout, output.stderr].concat();
    let line = String::from_utf8(all).unwrap();
    assert_eq!(line.matches('\n').count(), 1, "{args:?}: {line:?}");
    (output.status.code().unwrap(), line.trim_end().to_owned())
}

/// As [`probe`], from a test whose runtime goes on meanwhile.
async fn probe_beside(args: &[&str]) -> (i32, String) {
    let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
    let run = move || probe(&args.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn at(ip: &str, address: SocketAddr) -> String {
    format!("{ip}:{}", address.port())
}

/// The image's health check is `probe` without arguments, with the variables of `serve`.
#[tokio::test]
async fn a_ready_host_is_healthy_at_the_address_of_its_variable() {
    let host = start_app(&testkit::paths::guest("service"), &["--admin-listen", "[::]:0"], &[]).await;
    let admin = host.admin_address();
    for (listen, asked) in
        [("[::]", "[::1]"), ("[::1]", "[::1]"), ("0.0.0.0", "127.0.0.1"), ("127.0.0.1", "127.0.0.1")]
    {
        let variable = ("WASI_HTTP_HOST_ADMIN_LISTEN", &*at(listen, admin));
        let healthy = format!("http://{}/ready answers 200", at(asked, admin));
        assert_eq!(probe(&[], &[variable]), (0, healthy), "{listen}");
    }
    let url = format!("http://{}/hello/x", host.address());
    assert_eq!(probe(&[&url], &[]), (0, format!("{url} answers 200")));
}

#[tokio::test]
async fn a_host_that_is_not_ready_is_not_healthy_and_the_reason_is_its_own() {
    let host = start_guest("service", &["--ready-path", "/status/503"]).await;
    let admin = host.admin_address().to_string();
    let reason = "the component answers 503 at /status/503";
    let line = format!("wasi-http-host: http://{admin}/ready answers 503: {reason}");
    assert_eq!(probe(&["--admin-listen", &admin], &[]), (1, line));
    let live = format!("http://{admin}/live");
    assert_eq!(probe(&[&live], &[]), (0, format!("{live} answers 200")));
    let other = format!("http://{admin}/nowhere");
    assert_eq!(probe(&[&other], &[]), (1, format!("wasi-http-host: {other} answers 404: Not Found")));
}

#[tokio::test]
async fn who_does_not_listen_is_not_healthy() {
    let nobody = ports::Refusing::bind();
    let (code, line) = probe(&["--admin-listen", &nobody.address().to_string()], &[]);
    assert_eq!(code, 1);
    let named = format!("wasi-http-host: cannot connect to {}: Connection refused", nobody.address());
    assert!(line.starts_with(&named), "{line}");
}

/// A server that accepts and says nothing, one that sends its answer without end, and one that is no server of HTTP.
#[tokio::test]
async fn a_probe_ends_in_time_whatever_answers() {
    let limit = ["--timeout", "200ms"];
    let (silent, address) = ports::listen().await;
    let url = format!("http://{address}/ready");
    let late = format!("wasi-http-host: {url} does not answer within 200ms");
    assert_eq!(probe_beside(&[&[&*url][..], &limit].concat()).await, (1, late));
    drop(silent);

    for (sent, then) in [
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 9\r\n\r\n", "does not answer within 200ms"),
        ("HTTP/1.1 200 OK\r\nx: ", "does not answer"),
        ("SSH-2.0-x\r\n", "does not answer: "),
    ] {
        let (listener, address) = ports::listen().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
            let _ = stream.write_all(sent.as_bytes()).await;
            // Without end: a client that has enough closes the connection.
            if sent.ends_with("x: ") {
                while stream.write_all(&[b'x'; 1024]).await.is_ok() {}
            }
            let _ = stream.read(&mut [0]).await;
        });
        let url = format!("http://{address}/ready");
        let (code, line) = probe_beside(&[&[&*url][..], &limit].concat()).await;
        assert_eq!(code, 1, "{sent:?}: {line}");
        assert!(line.starts_with(&format!("wasi-http-host: {url} {then}")), "{sent:?}: {line}");
        server.await.unwrap();
    }
}

#[test]
fn what_cannot_be_asked_is_named_with_code_64() {
    let wanted = "want http:// with an IP address or localhost";
    for (args, named) in [
        (&["https://127.0.0.1:9090/ready"][..], wanted),
        (&["http://example.com/"], wanted),
        (&["--timeout", "0"], "invalid value '0' for --timeout: want at least 1ms"),
        (&["--timeout", "3"], "invalid value '3' for --timeout: \"3\" has no unit"),
        (&["--admin-listen", "127.0.0.1:0"], "--admin-listen: 127.0.0.1:0 has no port"),
        (&["--admin-listen", "localhost"], "want an IP address and a port"),
    ] {
        let (code, line) = probe(args, &[]);
        assert_eq!(code, 64, "{line}");
        assert!(line.contains(named), "{args:?}: {line}");
    }
}

/// The file has the reason of the container's first process. A probe beside it must not replace that reason.
#[test]
fn a_probe_does_not_write_the_termination_log() {
    let log = scratch("probe-termination-log").join("log");
    fs::write(&log, "kept").unwrap();
    let variable = ("WASI_HTTP_HOST_TERMINATION_LOG", log.to_str().unwrap());
    let nobody = ports::Refusing::bind();
    for (args, code) in [(&["--admin-listen", &*nobody.address().to_string()][..], 1), (&["--nonsense"], 64)]
    {
        assert_eq!(probe(args, &[variable]).0, code);
        assert_eq!(fs::read_to_string(&log).unwrap(), "kept", "{args:?}");
    }
}
