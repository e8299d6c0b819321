//! TLS on the main listener, as clients meet it, and certificates that are replaced under them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertifiedKey, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    client::{Answer, raw, read, until_closed},
    frames::{SETTINGS, WINDOW_UPDATE, frame, get as get_frame},
    harness::{DEADLINE, Host, run, scratch},
};

type Made = CertifiedKey<KeyPair>;

fn made() -> Made {
    rcgen::generate_simple_self_signed(["name.test".to_owned()]).unwrap()
}

/// The two files, in a directory of the test's own.
struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(test: &str, pair: &Made) -> Self {
        let directory = scratch(test);
        let files = Self { cert: directory.join("tls.crt"), key: directory.join("tls.key") };
        files.write(pair);
        files
    }

    fn write(&self, pair: &Made) {
        fs::write(&self.cert, pair.cert.pem()).unwrap();
        fs::write(&self.key, pair.signing_key.serialize_pem()).unwrap();
    }

    fn serve(&self, guest: &str, flags: &[&str]) -> Host {
        let files = ["--tls-cert", text(&self.cert), "--tls-key", text(&self.key)];
        Host::start(guest, &[&files[..], flags].concat())
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A client that trusts these, without a memory of sessions.
fn client(
    trusted: &[CertificateDer<'static>],
    alpn: &[&[u8]],
    version: &'static rustls::SupportedProtocolVersion,
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    for certificate in trusted {
        roots.add(certificate.clone()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    config.resumption = rustls::client::Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

fn trusting(pairs: &[&Made], alpn: &[&[u8]]) -> TlsConnector {
    let certificates: Vec<_> = pairs.iter().map(|pair| pair.cert.der().clone()).collect();
    client(&certificates, alpn, &rustls::version::TLS13)
}

async fn connect(host: &Host, client: &TlsConnector) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(host.address).await.expect("the host accepts");
    let connected = client.connect(ServerName::try_from("name.test").unwrap(), stream);
    timeout(DEADLINE, connected).await.expect("a handshake in time").expect("a handshake")
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "name.test").body(Full::default()).unwrap()
}

async fn over_h1(stream: TlsStream<TcpStream>, request: Request<Full<Bytes>>) -> Answer {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    read(timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap()).await
}

async fn over_h2(stream: TlsStream<TcpStream>, mut request: Request<Full<Bytes>>) -> Answer {
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let uri = format!("https://name.test{}", request.uri());
    *request.uri_mut() = uri.parse().unwrap();
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove("host");
    read(timeout(DEADLINE, sender.send_request(request)).await.unwrap().unwrap()).await
}

#[tokio::test]
async fn the_client_chooses_the_protocol_and_the_component_sees_https() {
    let pair = made();
    let host = Files::new("tls-protocols", &pair).serve("service", &[]);
    let seen = "Some(Scheme::Https) name.test /target/x";
    for (alpn, chosen) in
        [(&[&b"h2"[..], b"http/1.1"][..], Some(&b"h2"[..])), (&[b"http/1.1"], Some(b"http/1.1")), (&[], None)]
    {
        let stream = connect(&host, &trusting(&[&pair], alpn)).await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), chosen);
        let answer = match chosen {
            Some(b"h2") => over_h2(stream, get("/target/x")).await,
            _ => over_h1(stream, get("/target/x")).await,
        };
        assert_eq!((answer.status, answer.text()), (StatusCode::OK, seen));
    }
    // What it says of the scheme itself does not count.
    let stream = connect(&host, &trusting(&[&pair], &[])).await;
    assert_eq!(over_h1(stream, get("http://name.test/target/x")).await.text(), seen);
    assert_eq!(host.metric("wasi_http_host_tls_handshakes_total{outcome=\"ok\"}").await, 4.0);
    // A protocol that is not spoken here is refused in the handshake.
    let stream = TcpStream::connect(host.address).await.unwrap();
    let refused =
        trusting(&[&pair], &[b"spdy/3"]).connect(ServerName::try_from("name.test").unwrap(), stream);
    assert!(timeout(DEADLINE, refused).await.unwrap().is_err());
    host.wait_for_metric("wasi_http_host_tls_handshakes_total{outcome=\"failed\"}", |n| n == 1.0).await;
}

#[tokio::test]
async fn a_proxy_sees_https_too() {
    let pair = made();
    let host = Files::new("tls-proxy", &pair).serve("proxy", &[]);
    let stream = connect(&host, &trusting(&[&pair], &[b"http/1.1"])).await;
    assert_eq!(over_h1(stream, get("/scheme")).await.text(), "Some(Scheme::Https)");
}

#[tokio::test]
async fn bodies_go_both_ways_whole_over_either_version() {
    let pair = made();
    let host = Files::new("tls-bodies", &pair).serve("service", &[]);
    let body: Bytes = (0..3 << 20).map(|at: u32| (at % 251) as u8).collect();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        for alpn in [&b"h2"[..], b"http/1.1"] {
            let stream = connect(&host, &client(&[pair.cert.der().clone()], &[alpn], version)).await;
            let request = Request::post("/echo").header("host", "name.test").body(Full::new(body.clone()));
            let answer = match alpn {
                b"h2" => over_h2(stream, request.unwrap()).await,
                _ => over_h1(stream, request.unwrap()).await,
            };
            assert!(answer.whole && answer.body == body, "{version:?} {alpn:?}: {}", answer.body.len());
        }
    }
}

#[tokio::test]
async fn the_end_of_a_connection_is_told_so_that_it_cannot_be_forged() {
    let pair = made();
    let host = Files::new("tls-end", &pair).serve("service", &[]);
    let mut stream = connect(&host, &trusting(&[&pair], &[])).await;
    stream.write_all(b"GET /hello/end HTTP/1.0\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    // Fails on an end without `close_notify`.
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.unwrap().expect("an end that is told");
    assert!(answer.ends_with("hello end"), "{answer}");
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_over_and_no_request_is_lost() {
    let (old, new) = (made(), made());
    let files = Files::new("tls-renewed", &old);
    let host = files.serve("service", &[]);
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    let load = async {
        let kept = async |alpn: &'static [u8]| {
            // One connection from the first to the last, whatever becomes of the certificate.
            let stream = connect(&host, &trusting(&[&old], &[alpn])).await;
            let mut requests = 0;
            match alpn {
                b"h2" => {
                    let (mut sender, connection) =
                        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
                    tokio::spawn(connection);
                    while !stop.load(Relaxed) {
                        let request =
                            Request::get("https://name.test/hello/h2").body(Full::<Bytes>::default());
                        let answer = read(sender.send_request(request.unwrap()).await.unwrap()).await;
                        assert_eq!(answer.text(), "hello h2");
                        requests += 1;
                    }
                }
                _ => {
                    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
                    tokio::spawn(connection);
                    while !stop.load(Relaxed) {
                        let answer = read(sender.send_request(get("/hello/h1")).await.unwrap()).await;
                        assert_eq!(answer.text(), "hello h1");
                        requests += 1;
                    }
                }
            }
            served.fetch_add(requests, Relaxed);
        };
        let fresh = async || {
            let client = trusting(&[&old, &new], &[b"http/1.1"]);
            let mut seen = Vec::new();
            while !stop.load(Relaxed) {
                let stream = connect(&host, &client).await;
                let certificate = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
                assert_eq!(over_h1(stream, get("/hello/new")).await.text(), "hello new");
                seen.push(certificate == *new.cert.der());
                served.fetch_add(1, Relaxed);
            }
            seen
        };
        tokio::join!(kept(b"h2"), kept(b"http/1.1"), fresh(), fresh())
    };
    let renew = async {
        host.wait_for_metric("wasi_http_host_tls_handshakes_total{outcome=\"ok\"}", |n| n > 10.0).await;
        // One after the other, and seen in between.
        fs::write(&files.cert, new.cert.pem()).unwrap();
        host.wait_for_metric("wasi_http_host_tls_certificate_reloads_total{outcome=\"failed\"}", |n| {
            n == 1.0
        })
        .await;
        fs::write(&files.key, new.signing_key.serialize_pem()).unwrap();
        host.wait_for_metric("wasi_http_host_tls_certificate_reloads_total{outcome=\"ok\"}", |n| n == 1.0)
            .await;
        let before = host.metric("wasi_http_host_tls_handshakes_total{outcome=\"ok\"}").await;
        host.wait_for_metric("wasi_http_host_tls_handshakes_total{outcome=\"ok\"}", |n| n > before + 10.0)
            .await;
        stop.store(true, Relaxed);
    };
    let ((_, _, one, other), ()) = tokio::join!(load, renew);
    for seen in [one, other] {
        assert!(!seen[0] && *seen.last().unwrap(), "{seen:?}");
        assert!(seen.is_sorted(), "the old one is not seen again: {seen:?}");
    }
    let errors = host.metric("wasi_http_host_connection_errors_total").await;
    assert_eq!(errors, 0.0);
    let answered =
        host.metric("wasi_http_host_requests_total{component=\"guest_service\",status=\"2xx\"}").await;
    assert_eq!(answered, served.load(Relaxed) as f64);
    let said = host.wait_for_line(|line| line["message"] == "TLS: the certificate in use stays");
    assert!(said["error"].as_str().unwrap().contains("tls.key: not the key of the certificate"), "{said}");
}

#[tokio::test]
async fn the_metrics_tell_when_the_certificate_expires() {
    let signed = |year| {
        let key = KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(["name.test".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        CertifiedKey { cert: params.self_signed(&key).unwrap(), signing_key: key }
    };
    let files = Files::new("tls-expiry", &signed(2040));
    let host = files.serve("service", &[]);
    let name = "wasi_http_host_tls_certificate_not_after_seconds";
    assert_eq!(host.metric(name).await, 2_208_988_800.0);
    // An expired one is served with, for all else were an outage too; it is told.
    files.write(&signed(2020));
    host.wait_for_metric(name, |seconds| seconds == 1_577_836_800.0).await;
    host.wait_for_line(|line| line["message"] == "TLS: the certificate in use has expired");
}

#[tokio::test]
async fn without_tls_there_are_no_series_of_it() {
    let host = Host::start("service", &[]);
    assert!(!host.admin("/metrics").await.text().contains("_tls_"));
}

#[test]
fn files_that_cannot_be_served_with_end_the_start() {
    let (pair, other) = (made(), made());
    let files = Files::new("tls-broken", &pair);
    let directory = files.cert.parent().unwrap();
    let (empty, foreign) = (directory.join("empty.pem"), directory.join("other.key"));
    fs::write(&empty, "").unwrap();
    fs::write(&foreign, other.signing_key.serialize_pem()).unwrap();
    let missing = directory.join("missing.pem");
    for (flags, named) in [
        (&["--tls-cert", text(&files.cert)][..], "--tls-key"),
        (&["--tls-key", text(&files.key)], "--tls-cert"),
        (&["--tls-cert", text(&missing), "--tls-key", text(&files.key)], "missing.pem: No such file"),
        (&["--tls-cert", text(&empty), "--tls-key", text(&files.key)], "empty.pem: no certificate in it"),
        (&["--tls-cert", text(&files.key), "--tls-key", text(&files.key)], "tls.key: no certificate in it"),
        (&["--tls-cert", text(&files.cert), "--tls-key", text(&empty)], "empty.pem: no private key in it"),
        (&["--tls-cert", text(&files.cert), "--tls-key", text(&foreign)], "other.key: not the key of"),
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
    // Each as the tool writes it: PKCS#8, PKCS#1, and SEC1 after its parameters.
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
        let host = files.serve("service", &[]);
        let pem = fs::read(&files.cert).unwrap();
        let certificate =
            <CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(&pem).unwrap();
        let client = client(&[certificate], &[], &rustls::version::TLS13);
        let stream = connect(&host, &client).await;
        assert_eq!(over_h1(stream, get("/hello/key")).await.text(), "hello key", "{kind}");
    }
}

#[tokio::test]
async fn who_speaks_plain_http_is_told_so() {
    let pair = made();
    let host = Files::new("tls-plain", &pair).serve("service", &[]);
    let answer = raw(host.address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 400 ") && answer.ends_with(r#"{"detail":"HTTPS is spoken here"}"#),
        "{answer}"
    );
    assert_eq!(raw(host.address, b"\0\0garbage").await, "");
    assert_eq!(host.metric("wasi_http_host_tls_handshakes_total{outcome=\"not_tls\"}").await, 2.0);
    let requests =
        host.metric("wasi_http_host_requests_total{component=\"guest_service\",status=\"2xx\"}").await;
    assert_eq!(requests, 0.0);
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_broken_off() {
    let pair = made();
    let host = Files::new("tls-slow", &pair).serve("service", &["--tls-handshake-timeout", "300ms"]);
    // Nothing at all, and the beginning of a record.
    for beginning in [&b""[..], b"\x16\x03\x01\x02\0"] {
        let mut stream = TcpStream::connect(host.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        assert_eq!(until_closed(&mut stream).await, "");
    }
    host.wait_for_metric("wasi_http_host_tls_handshakes_total{outcome=\"timeout\"}", |n| n == 1.0).await;
    host.wait_for_metric("wasi_http_host_connections_open", |open| open == 0.0).await;
}

#[tokio::test]
async fn handshakes_at_once_are_bounded_and_others_wait() {
    let pair = made();
    let flags = ["--tls-max-handshakes", "1", "--tls-handshake-timeout", "10m"];
    let host = Files::new("tls-bound", &pair).serve("service", &flags);
    // Connections that say nothing take no place; one that begins does.
    let silent = TcpStream::connect(host.address).await.unwrap();
    let mut begun = TcpStream::connect(host.address).await.unwrap();
    begun.write_all(b"\x16\x03\x01\x02\0").await.unwrap();
    host.wait_for_metric("wasi_http_host_tls_handshakes_active", |active| active == 1.0).await;
    let client = trusting(&[&pair], &[]);
    let waits = connect(&host, &client);
    tokio::pin!(waits);
    assert!(timeout(Duration::from_millis(300), waits.as_mut()).await.is_err());
    drop(begun);
    assert_eq!(over_h1(waits.await, get("/hello/next")).await.text(), "hello next");
    drop(silent);
}

#[tokio::test]
async fn a_client_that_takes_nothing_is_let_go_under_tls_too() {
    let pair = made();
    let host = Files::new("tls-stalled", &pair).serve("service", &["--body-idle-timeout", "300ms"]);
    // As much as it likes to send of HTTP/2 as well: only the connection holds it up.
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
    let mut host = Files::new("tls-drain", &pair).serve("service", &[]);
    let streams = [
        connect(&host, &trusting(&[&pair], &[b"h2"])).await,
        connect(&host, &trusting(&[&pair], &[b"http/1.1"])).await,
    ];
    let [h2, h1] = streams;
    let (one, other) =
        (tokio::spawn(over_h2(h2, get("/sleep/5000"))), tokio::spawn(over_h1(h1, get("/sleep/5000"))));
    host.wait_for_metric("wasi_http_host_requests_active", |active| active == 2.0).await;
    host.signal("TERM");
    assert_eq!(one.await.unwrap().text(), "slept");
    let answer = other.await.unwrap();
    assert_eq!((answer.text(), answer.header("connection")), ("slept", "close"));
    assert_eq!(host.wait().code(), Some(0));
}
