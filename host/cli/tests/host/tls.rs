//! TLS on the main listener: handshakes, protocols, limits, and certificates that are replaced while the host runs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use nix::sys::signal::Signal;
use rustls::pki_types::CertificateDer;
use testkit::{
    DEADLINE, Host,
    http::{Connection, Request, Response, http2, raw},
    paths::scratch,
    tls::{Certificate, Trust, read_certificates},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;

use crate::{
    frames::{SETTINGS, WINDOW_UPDATE, frame, get as get_frame},
    harness::{run, start_guest},
};

const NAME: &str = "name.test";

fn made() -> Certificate {
    Certificate::self_signed(NAME)
}

/// The host's certificate and key files.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(test: &str, pair: &Certificate) -> Self {
        let directory = scratch(test);
        let files = Self { cert: directory.join("tls.crt"), key: directory.join("tls.key") };
        files.write(pair);
        files
    }

    fn write(&self, pair: &Certificate) {
        fs::write(&self.cert, &pair.pem).unwrap();
        fs::write(&self.key, &pair.key).unwrap();
    }

    async fn serve(&self, guest: &str, flags: &[&str]) -> Host {
        let files = ["--tls-cert", text(&self.cert), "--tls-key", text(&self.key)];
        start_guest(guest, &[&files[..], flags].concat()).await
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn trusting(pairs: &[&Certificate], alpn: &[&[u8]]) -> Trust {
    Trust::with_version(pairs.iter().map(|pair| &pair.der), alpn, &rustls::version::TLS13)
}

async fn connect(host: &Host, client: &Trust) -> TlsStream<TcpStream> {
    client.connect(host.address(), NAME).await.expect("a handshake")
}

pub(crate) async fn over_h1(stream: TlsStream<TcpStream>, request: Request) -> Response {
    let mut connection = Connection::over(stream);
    connection.write(&request.bytes(NAME)).await.unwrap();
    connection.response_to(request.method()).await.unwrap()
}

pub(crate) async fn over_h2(stream: TlsStream<TcpStream>, request: Request, body: Bytes) -> Response {
    let mut client = http2::connect(stream).await;
    let url = format!("https://{NAME}{}", request.target());
    let begun = http::Request::builder().method(request.method()).uri(url);
    let headed = request.headers().fold(begun, |begun, (name, value)| begun.header(name, value));
    let request = headed.body(Full::new(body)).unwrap();
    http2::send(&mut client, request).await.unwrap()
}

#[tokio::test]
async fn the_client_chooses_the_protocol_and_the_component_sees_https() {
    let pair = made();
    let host = Files::new("tls-protocols", &pair).serve("service", &[]).await;
    let seen = "Some(Scheme::Https) name.test /target/x";
    for (alpn, chosen) in
        [(&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])), (&[b"http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let stream = connect(&host, &trusting(&[&pair], alpn)).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        let answer = match chosen {
            Some(b"h2") => over_h2(stream, Request::get("/target/x"), Bytes::new()).await,
            _ => over_h1(stream, Request::get("/target/x")).await,
        };
        assert_eq!((answer.status, answer.text()), (200, seen));
    }
    // The scheme in an absolute target does not count.
    let stream = connect(&host, &trusting(&[&pair], &[])).await;
    assert_eq!(over_h1(stream, Request::get("http://name.test/target/x")).await.text(), seen);
    assert_eq!(host.metric("wasi_http_host_tls_handshakes_total{outcome=\"ok\"}").await, 4.0);
    // A protocol that the host does not offer is refused in the handshake.
    assert!(trusting(&[&pair], &[b"spdy/3"]).connect(host.address(), NAME).await.is_err());
    host.wait_for_metric("wasi_http_host_tls_handshakes_total{outcome=\"failed\"}", |n| n == 1.0).await;
}

#[tokio::test]
async fn a_proxy_sees_https_too() {
    let pair = made();
    let host = Files::new("tls-proxy", &pair).serve("proxy", &[]).await;
    let stream = connect(&host, &trusting(&[&pair], &[b"http/1.1"])).await;
    assert_eq!(over_h1(stream, Request::get("/scheme")).await.text(), "Some(Scheme::Https)");
}

#[tokio::test]
async fn bodies_go_both_ways_whole_over_either_version() {
    let pair = made();
    let host = Files::new("tls-bodies", &pair).serve("service", &[]).await;
    let body: Bytes = (0..3 << 20).map(|at: u32| (at % 251) as u8).collect();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for alpn in [&b"h2"[..], b"http/1.1"] {
            let stream = connect(&host, &Trust::with_version([&pair.der], &[alpn], version)).await;
            let request = Request::new("POST", "/echo");
            let answer = match alpn {
                b"h2" => over_h2(stream, request, body.clone()).await,
                _ => over_h1(stream, request.body(body.clone())).await,
            };
            assert!(answer.complete && answer.body == body, "{version:?} {alpn:?}: {}", answer.body.len());
        }
    }
}

#[tokio::test]
async fn the_end_of_a_connection_is_told_so_that_it_cannot_be_forged() {
    let pair = made();
    let host = Files::new("tls-end", &pair).serve("service", &[]).await;
    let mut stream = connect(&host, &trusting(&[&pair], &[])).await;
    stream.write_all(b"GET /hello/end HTTP/1.0\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // Fails at an end without `close_notify`.
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().expect("an end with close_notify");
    assert!(answer.ends_with("hello end"), "{answer}");
}

/// Sends requests over one connection until `stop`. Returns their number.
async fn load_over_h1(stream: TlsStream<TcpStream>, stop: &AtomicBool) -> usize {
    let (mut connection, request) = (Connection::over(stream), Request::get("/hello/h1").bytes(NAME));
    let mut requests = 0;
    while !stop.load(Relaxed) {
        connection.write(&request).await.unwrap();
        assert_eq!(connection.response().await.unwrap().text(), "hello h1");
        requests += 1;
    }
    requests
}

/// Like [`load_over_h1`].
async fn load_over_h2(stream: TlsStream<TcpStream>, stop: &AtomicBool) -> usize {
    let mut client = http2::connect(stream).await;
    let mut requests = 0;
    while !stop.load(Relaxed) {
        let request = http2::get("https://name.test/hello/h2");
        assert_eq!(http2::send(&mut client, request).await.unwrap().text(), "hello h2");
        requests += 1;
    }
    requests
}

/// Sends each request over a new connection until `stop`. Returns the certificates that the host showed.
async fn load_over_new_connections(
    host: &Host,
    client: &Trust,
    stop: &AtomicBool,
) -> Vec<CertificateDer<'static>> {
    let mut shown = Vec::new();
    while !stop.load(Relaxed) {
        let stream = connect(host, client).await;
        shown.push(stream.get_ref().1.peer_certificates().unwrap()[0].clone());
        assert_eq!(over_h1(stream, Request::get("/hello/new")).await.text(), "hello new");
    }
    shown
}

/// Replaces the host's certificate between many handshakes.
async fn renew(host: &Host, files: &Files, new: &Certificate) {
    const HANDSHAKES: &str = "wasi_http_host_tls_handshakes_total{outcome=\"ok\"}";
    const FAILED: &str = "wasi_http_host_tls_certificate_reloads_total{outcome=\"failed\"}";
    const RELOADED: &str = "wasi_http_host_tls_certificate_reloads_total{outcome=\"ok\"}";
    host.wait_for_metric(HANDSHAKES, |n| n > 10.0).await;
    // First the certificate, then the key; the host notices the mismatch in between.
    fs::write(&files.cert, &new.pem).unwrap();
    host.wait_for_metric(FAILED, |n| n == 1.0).await;
    fs::write(&files.key, &new.key).unwrap();
    host.wait_for_metric(RELOADED, |n| n == 1.0).await;
    let before = host.metric(HANDSHAKES).await;
    host.wait_for_metric(HANDSHAKES, |n| n > before + 10.0).await;
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_over_and_no_request_is_lost() {
    let (old, new) = (made(), made());
    let files = Files::new("tls-renewed", &old);
    let host = files.serve("service", &[]).await;
    let stop = AtomicBool::new(false);
    // Two connections live for the whole test, whatever happens to the certificate.
    let h1 = connect(&host, &trusting(&[&old], &[b"http/1.1"])).await;
    let h2 = connect(&host, &trusting(&[&old], &[b"h2"])).await;
    let client = trusting(&[&old, &new], &[b"http/1.1"]);
    let renewal = async {
        renew(&host, &files, &new).await;
        stop.store(true, Relaxed);
    };
    let (by_h1, by_h2, one, other, ()) = tokio::join!(
        load_over_h1(h1, &stop),
        load_over_h2(h2, &stop),
        load_over_new_connections(&host, &client, &stop),
        load_over_new_connections(&host, &client, &stop),
        renewal
    );
    for shown in [&one, &other] {
        let seen: Vec<bool> = shown.iter().map(|certificate| *certificate == new.der).collect();
        assert!(!seen[0] && *seen.last().unwrap(), "{seen:?}");
        assert!(seen.is_sorted(), "the old certificate was shown again: {seen:?}");
    }
    let errors = host.metric("wasi_http_host_connection_errors_total").await;
    assert_eq!(errors, 0.0);
    let answered =
        host.metric("wasi_http_host_requests_total{component=\"guest_service\",status=\"2xx\"}").await;
    assert_eq!(answered, (by_h1 + by_h2 + one.len() + other.len()) as f64);
    let said = host
        .wait_for_line(|line| {
            line["message"] == "TLS: cannot use the new certificate: the previous one stays active"
        })
        .await;
    assert!(
        said["error"].as_str().unwrap().contains("tls.key: it does not belong to the certificate"),
        "{said}"
    );
}

#[tokio::test]
async fn the_metrics_tell_when_the_certificate_expires() {
    let signed = |year| Certificate::self_signed_until(NAME, year);
    let files = Files::new("tls-expiry", &signed(2040));
    let host = files.serve("service", &[]).await;
    let name = "wasi_http_host_tls_certificate_not_after_seconds";
    assert_eq!(host.metric(name).await, 2_208_988_800.0);
    // The host serves with an expired certificate, because no certificate would be an outage, too. The host warns.
    files.write(&signed(2020));
    host.wait_for_metric(name, |seconds| seconds == 1_577_836_800.0).await;
    host.wait_for_line(|line| line["message"] == "TLS: the certificate has expired").await;
}

#[tokio::test]
async fn without_tls_there_are_no_series_of_it() {
    let host = start_guest("service", &[]).await;
    assert!(!host.admin("/metrics").await.text().contains("_tls_"));
}

#[test]
fn files_that_cannot_be_served_with_end_the_start() {
    let (pair, other) = (made(), made());
    let files = Files::new("tls-broken", &pair);
    let directory = files.cert.parent().unwrap();
    let (empty, foreign) = (directory.join("empty.pem"), directory.join("other.key"));
    fs::write(&empty, "").unwrap();
    fs::write(&foreign, &other.key).unwrap();
    let missing = directory.join("missing.pem");
    for (flags, named) in [
        (&["--tls-cert", text(&files.cert)][..], "--tls-key"),
        (&["--tls-key", text(&files.key)], "--tls-cert"),
        (&["--tls-cert", text(&missing), "--tls-key", text(&files.key)], "missing.pem: No such file"),
        (
            &["--tls-cert", text(&empty), "--tls-key", text(&files.key)],
            "empty.pem: it contains no certificate",
        ),
        (
            &["--tls-cert", text(&files.key), "--tls-key", text(&files.key)],
            "tls.key: it contains no certificate",
        ),
        (
            &["--tls-cert", text(&files.cert), "--tls-key", text(&empty)],
            "empty.pem: it contains no private key",
        ),
        (&["--tls-cert", text(&files.cert), "--tls-key", text(&foreign)], "other.key: it does not belong to"),
        (&["--tls-cert", text(directory), "--tls-key", text(&files.key)], "not a file"),
        (&["--tls-handshake-timeout", "1ms"], "--tls-handshake-timeout"),
    ] {
        let output = run(&[&["serve", "app.wasm"], flags].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{flags:?}: {message}");
        assert!(message.contains(named) && message.contains("--tls-"), "{flags:?}: {message}");
    }
}

#[tokio::test]
async fn keys_of_all_common_kinds_are_read() {
    let directory = scratch("tls-kinds");
    let openssl = |line: &str| {
        let words = line.split(' ');
        let output = Command::new("openssl").args(words).current_dir(&directory).output();
        let output = output.expect("openssl runs: apt-get install openssl");
        assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
    };
    // As openssl writes them: PKCS#8, PKCS#1, and SEC1 behind its parameters.
    openssl("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa.key");
    openssl("rsa -in rsa.key -traditional -out rsa1.key");
    openssl("ecparam -name prime256v1 -genkey -out ec.key");
    openssl("genpkey -algorithm ED25519 -out ed25519.key");
    for kind in ["rsa", "rsa1", "ec", "ed25519"] {
        openssl(&format!(
            "req -x509 -key {kind}.key -out {kind}.crt -days 2 -subj /CN=name.test -addext subjectAltName=DNS:name.test \
             -addext basicConstraints=critical,CA:FALSE"
        ));
        let files =
            Files { cert: directory.join(format!("{kind}.crt")), key: directory.join(format!("{kind}.key")) };
        let host = files.serve("service", &[]).await;
        let client = Trust::certificates(&read_certificates(&files.cert), &[]);
        let stream = connect(&host, &client).await;
        assert_eq!(over_h1(stream, Request::get("/hello/key")).await.text(), "hello key", "{kind}");
    }
}

#[tokio::test]
async fn who_speaks_plain_http_is_told_so() {
    let pair = made();
    let host = Files::new("tls-plain", &pair).serve("service", &[]).await;
    let answer = raw(host.address(), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.ends_with(r#"{"detail":"HTTPS is spoken here"}"#),
        "{answer}"
    );
    assert_eq!(raw(host.address(), b"\0\0garbage").await, "");
    assert_eq!(host.metric("wasi_http_host_tls_handshakes_total{outcome=\"not_tls\"}").await, 2.0);
    let requests =
        host.metric("wasi_http_host_requests_total{component=\"guest_service\",status=\"2xx\"}").await;
    assert_eq!(requests, 0.0);
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_broken_off() {
    let pair = made();
    let host = Files::new("tls-slow", &pair).serve("service", &["--tls-handshake-timeout", "300ms"]).await;
    // No byte at all, and the beginning of a record.
    for beginning in [&b""[..], b"\x16\x03\x01\x02\0"] {
        let mut stream = host.connect().await;
        stream.write(beginning).await.unwrap();
        assert_eq!(stream.until_closed().await, "");
    }
    host.wait_for_metric("wasi_http_host_tls_handshakes_total{outcome=\"timeout\"}", |n| n == 1.0).await;
    host.wait_for_metric("wasi_http_host_connections_open", |open| open == 0.0).await;
}

#[tokio::test]
async fn handshakes_at_once_are_bounded_and_others_wait() {
    let pair = made();
    let flags = ["--tls-max-handshakes", "1", "--tls-handshake-timeout", "10m"];
    let host = Files::new("tls-bound", &pair).serve("service", &flags).await;
    // A connection that sends nothing does not count as a handshake; one that sends the first bytes does.
    let silent = TcpStream::connect(host.address()).await.unwrap();
    let mut begun = TcpStream::connect(host.address()).await.unwrap();
    begun.write_all(b"\x16\x03\x01\x02\0").await.unwrap();
    host.wait_for_metric("wasi_http_host_tls_handshakes_active", |active| active == 1.0).await;
    let client = trusting(&[&pair], &[]);
    let waits = connect(&host, &client);
    tokio::pin!(waits);
    assert!(timeout(Duration::from_millis(300), waits.as_mut()).await.is_err());
    drop(begun);
    assert_eq!(over_h1(waits.await, Request::get("/hello/next")).await.text(), "hello next");
    drop(silent);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go_under_tls_too() {
    let pair = made();
    let host = Files::new("tls-stalled", &pair).serve("service", &["--body-idle-timeout", "300ms"]).await;
    // The windows of HTTP/2 are open: only the connection itself holds the host up.
    let windows = [
        frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]),
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xf0, 0, 0]),
    ];
    let h2 =
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &windows.concat(), &get_frame(1, "/endless")].concat();
    let h1 = b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n".to_vec();
    for (closed, alpn, asking) in [(1.0, &b"http/1.1"[..], h1), (2.0, b"h2", h2)] {
        let mut stream = connect(&host, &trusting(&[&pair], &[alpn])).await;
        stream.write_all(&asking).await.unwrap();
        stream.read_u8().await.unwrap();
        host.wait_for_metric("wasi_http_host_connection_errors_total", |errors| errors == closed).await;
        host.wait_for_metric("wasi_http_host_connections_open", |open| open == 0.0).await;
    }
}

#[tokio::test]
async fn a_draining_host_finishes_what_runs_under_tls() {
    let pair = made();
    let mut host = Files::new("tls-drain", &pair).serve("service", &[]).await;
    let streams = [
        connect(&host, &trusting(&[&pair], &[b"h2"])).await,
        connect(&host, &trusting(&[&pair], &[b"http/1.1"])).await,
    ];
    let [h2, h1] = streams;
    let (one, other) = (
        tokio::spawn(over_h2(h2, Request::get("/sleep/5000"), Bytes::new())),
        tokio::spawn(over_h1(h1, Request::get("/sleep/5000"))),
    );
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 2.0).await;
    host.signal(Signal::SIGTERM);
    assert_eq!(one.await.unwrap().text(), "slept");
    let answer = other.await.unwrap();
    assert_eq!((answer.text(), answer.header("connection")), ("slept", Some("close")));
    assert_eq!(host.ended().await.code(), Some(0));
}
