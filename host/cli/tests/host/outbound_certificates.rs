//! Certificates of outbound requests: what the host shows to servers and trusts of them, by patterns, and files that change.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use testkit::{
    DEADLINE, Host,
    paths::scratch,
    ports::listen,
    tls::{Authority, Certificate},
};
use tokio::{sync::Notify, time::timeout};
use tokio_rustls::TlsAcceptor;

use crate::harness::{run, start_guest};

const RELOADS: &str = "wasi_http_host_outbound_certificate_reloads_total";

/// A server with TLS on loopback. It answers with the number of the connection. It answers `/wait` after
/// [`Upstream::finish`].
struct Upstream {
    address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// The client's certificate on each connection.
    shown: Mutex<Vec<Option<CertificateDer<'static>>>>,
    waits: Notify,
    finish: Notify,
}

/// Whether a server needs its clients to have a certificate.
#[derive(PartialEq)]
enum Clients {
    Required,
    Optional,
}

impl Upstream {
    /// A server that `authority` has signed a certificate for, and that trusts `clients` to sign those of its clients.
    async fn new(authority: &Authority, clients: &Authority, auth: Clients, alpn: &[u8]) -> Self {
        let certificate = authority.issue("127.0.0.1");
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(clients.pem.as_bytes()).unwrap()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
        let verifier = if auth == Clients::Optional { verifier.allow_unauthenticated() } else { verifier };
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate.der], key)
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (listener, address) = listen().await;
        let state = Arc::<State>::default();
        let shared = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), shared.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let peer = stream.get_ref().1.peer_certificates();
                    let number = state.connected(peer.map(|chain| chain[0].clone().into_owned()));
                    let service = service_fn(move |request| answer(state.clone(), number, request));
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, state }
    }

    fn pattern(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Has a component ask this server. Returns the certificate that the server saw, and the number of its connection.
    async fn ask(&self, host: &Host) -> (Option<CertificateDer<'static>>, usize) {
        let answer = host.get(&format!("/ask-securely?{}/", self.address)).await;
        self.shown(answer.text())
    }

    fn shown(&self, answer: &str) -> (Option<CertificateDer<'static>>, usize) {
        let number: usize = answer.strip_prefix("200 ").expect(answer).parse().unwrap();
        (self.state.shown.lock().unwrap()[number].clone(), number)
    }

    /// Waits until a request has arrived that this server does not answer yet.
    async fn waits(&self) {
        timeout(DEADLINE, self.state.waits.notified()).await.unwrap();
    }

    fn finish(&self) {
        self.state.finish.notify_one();
    }
}

impl State {
    /// Returns the number of the connection.
    fn connected(&self, certificate: Option<CertificateDer<'static>>) -> usize {
        let mut shown = self.shown.lock().unwrap();
        shown.push(certificate);
        shown.len() - 1
    }
}

async fn answer(
    state: Arc<State>,
    number: usize,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Full<Bytes>>, hyper::Error> {
    if request.uri().path() == "/wait" {
        state.waits.notify_one();
        state.finish.notified().await;
    }
    Ok(hyper::Response::new(Full::from(number.to_string())))
}

/// The files of one test.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Self {
        Self(scratch(test))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a certificate and its key. Returns the value of the flag.
    fn pair(&self, pattern: &str, name: &str, pair: &Certificate) -> String {
        let (cert, key) = (self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")));
        fs::write(&cert, &pair.pem).unwrap();
        fs::write(&key, &pair.key).unwrap();
        format!("{pattern}={},{}", text(&cert), text(&key))
    }

    /// Writes authorities. Returns the value of the flag.
    fn authority(&self, pattern: &str, name: &str, authority: &Authority) -> String {
        let file = self.path(&format!("{name}.pem"));
        fs::write(&file, &authority.pem).unwrap();
        format!("{pattern}={}", text(&file))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A host with one thread, so that all requests have the same pools of connections.
async fn serve(guest: &str, flags: &[&str]) -> Host {
    let common = ["--threads", "1", "--allowed-outbound-host", "https://127.0.0.1:*"];
    start_guest(guest, &[&common, flags].concat()).await
}

#[tokio::test]
async fn each_server_sees_the_certificate_of_its_closest_pattern() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let files = Files::new("outbound-certificates");
    let (one, other, nobody) = (
        Upstream::new(&servers, &clients, Clients::Required, b"h2").await,
        Upstream::new(&servers, &clients, Clients::Required, b"http/1.1").await,
        Upstream::new(&servers, &clients, Clients::Optional, b"http/1.1").await,
    );
    let (first, second) = (clients.issue("one"), clients.issue("other"));
    let wide = files.pair("https://127.0.0.1:*", "wide", &first);
    let narrow = files.pair(&other.pattern(), "narrow", &second);
    let ca = files.authority("*://127.0.0.1:*", "servers", &servers);
    let host = serve(
        "service",
        &["--outbound-client-cert", &wide, "--outbound-client-cert", &narrow, "--outbound-ca", &ca],
    )
    .await;
    assert_eq!(one.ask(&host).await, (Some(first.der.clone()), 0));
    assert_eq!(other.ask(&host).await, (Some(second.der.clone()), 0));
    assert_eq!(one.ask(&host).await, (Some(first.der.clone()), 0), "the connection is used again");
    assert_eq!(other.ask(&host).await, (Some(second.der.clone()), 0));
    // Without a pattern there is no certificate, also if the server asks for one. Each variable holds several values.
    let elsewhere = files.pair("https://elsewhere.test", "elsewhere", &first);
    let ca = format!("{};{ca}", files.authority("https://elsewhere.test", "foreign", &clients));
    let certs = format!("{elsewhere};{}", files.pair(&one.pattern(), "one", &second));
    let host = crate::harness::serving(&testkit::paths::guest("service"))
        .flags(&["--threads", "1", "--allowed-outbound-host", "https://127.0.0.1:*"])
        .envs(&[("WASI_HTTP_HOST_OUTBOUND_CLIENT_CERT", &certs), ("WASI_HTTP_HOST_OUTBOUND_CA", &ca)])
        .start()
        .await;
    assert_eq!(nobody.ask(&host).await, (None, 0));
    assert_eq!(one.ask(&host).await, (Some(second.der), 1));
    // A server that wants a certificate refuses the request by an alert.
    let answer = host.get(&format!("/ask-securely?{}/", other.address)).await;
    assert!(answer.text().contains("TlsAlertReceived"), "{}", answer.text());
    let failed = "wasi_http_host_outbound_requests_total{component=\"guest_service\",allowed=\"https://127.0.0.1:*\",outcome=\"tls\"}";
    assert_eq!(host.metric(failed).await, 1.0);
}

#[tokio::test]
async fn private_authorities_are_trusted_by_the_servers_of_their_pattern_alone() {
    let (private, public) = (Authority::new(), Authority::new());
    let files = Files::new("outbound-authorities");
    let of = async |authority| Upstream::new(authority, &private, Clients::Optional, b"http/1.1").await;
    let (inside, pretender, outside) = (of(&private).await, of(&public).await, of(&private).await);
    let everywhere = files.path("public.pem");
    fs::write(&everywhere, &public.pem).unwrap();
    let (one, two) = (
        files.authority(&inside.pattern(), "inside", &private),
        files.authority(&pretender.pattern(), "pretender", &private),
    );
    let flags = ["--outbound-ca-file", text(&everywhere), "--outbound-ca", &one, "--outbound-ca", &two];
    let host = serve("service", &flags).await;
    assert_eq!(inside.ask(&host).await, (None, 0));
    // What is trusted elsewhere is not trusted where a pattern names the authorities, and the other way round.
    for refused in [&pretender, &outside] {
        let answer = host.get(&format!("/ask-securely?{}/", refused.address)).await;
        assert!(answer.text().contains("TlsCertificateError"), "{}", answer.text());
    }
}

/// The certificate changes while requests are in flight.
async fn renew(test: &str, alpn: &[u8]) {
    let (servers, clients) = (Authority::new(), Authority::new());
    let files = Files::new(test);
    let upstream = Upstream::new(&servers, &clients, Clients::Required, alpn).await;
    let (old, new) = (clients.issue("old"), clients.issue("new"));
    let cert = files.pair(&upstream.pattern(), "client", &old);
    let ca = files.authority(&upstream.pattern(), "servers", &servers);
    let host = serve("service", &["--outbound-client-cert", &cert, "--outbound-ca", &ca]).await;
    assert_eq!(upstream.ask(&host).await, (Some(old.der.clone()), 0));
    let target = format!("/ask-securely?{}/wait", upstream.address);
    let in_flight = host.get(&target);
    let renewal = async {
        upstream.waits().await;
        // A broken file leaves the certificate and its connections in use.
        fs::write(files.path("client.key"), "-----BEGIN PRIVATE KEY-----\nhush!\n").unwrap();
        host.wait_for_metric(&format!("{RELOADS}{{outcome=\"failed\"}}"), |n| n == 1.0).await;
        let said = host.wait_for_line(|line| line["level"] == "ERROR").await;
        assert_eq!(said["flag"], "--outbound-client-cert", "{said}");
        assert_eq!(said["pattern"], upstream.pattern(), "{said}");
        assert!(said["error"].as_str().unwrap().contains("client.key: not well-formed PEM"), "{said}");
        let (shown, connection) = upstream.ask(&host).await;
        assert_eq!(shown, Some(old.der.clone()));
        files.pair(&upstream.pattern(), "client", &new);
        host.wait_for_metric(&format!("{RELOADS}{{outcome=\"ok\"}}"), |n| n >= 1.0).await;
        // The two files are written one after the other, so the host may have seen a pair that does not match.
        let (shown, renewed) = upstream.ask(&host).await;
        assert_eq!(shown, Some(new.der.clone()));
        assert!(renewed > connection, "an earlier connection was used");
        assert_eq!(upstream.ask(&host).await, (Some(new.der.clone()), renewed));
        upstream.finish();
        renewed
    };
    let (answer, renewed) = tokio::join!(in_flight, renewal);
    assert_eq!(upstream.shown(answer.text()).0, Some(old.der), "the request in flight went on");
    // The connection of that request is not used again.
    assert_eq!(upstream.ask(&host).await, (Some(new.der), renewed));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_by_the_next_request_over_http_1() {
    renew("outbound-renewed-h1", b"http/1.1").await;
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_by_the_next_request_over_http_2() {
    renew("outbound-renewed-h2", b"h2").await;
}

#[tokio::test]
async fn changed_authorities_count_for_the_next_request() {
    let (old, new, clients) = (Authority::new(), Authority::new(), Authority::new());
    let files = Files::new("outbound-authorities-renewed");
    let upstream = Upstream::new(&old, &clients, Clients::Optional, b"h2").await;
    let ca = files.authority(&upstream.pattern(), "servers", &old);
    let host = serve("service", &["--outbound-ca", &ca]).await;
    assert_eq!(upstream.ask(&host).await, (None, 0));
    files.authority(&upstream.pattern(), "servers", &new);
    host.wait_for_metric(&format!("{RELOADS}{{outcome=\"ok\"}}"), |n| n == 1.0).await;
    let answer = host.get(&format!("/ask-securely?{}/", upstream.address)).await;
    assert!(answer.text().contains("TlsCertificateError"), "{}", answer.text());
}

#[tokio::test]
async fn without_patterns_there_are_no_series_of_them() {
    let host = start_guest("service", &[]).await;
    let metrics = host.admin("/metrics").await;
    let metrics = metrics.text();
    assert!(!metrics.contains("outbound_certificate") && !metrics.contains("outbound_client_certificate"));
}

#[test]
fn a_value_that_cannot_be_used_ends_the_start() {
    let authority = Authority::new();
    let files = Files::new("outbound-certificates-broken");
    let pair = files.pair("https://a.test", "a", &authority.issue("a"));
    let foreign = files.pair("https://a.test", "foreign", &authority.issue("b"));
    let mismatch = pair.replace("a.key", "foreign.key");
    let missing = pair.replace("a.crt", "none.crt");
    let ca = files.authority("https://a.test", "ca", &authority);
    let key_for_ca = format!("https://a.test={}", text(&files.path("a.key")));
    for (flags, named) in [
        (&["--outbound-client-cert", &mismatch][..], "foreign.key: it does not belong to the certificate in"),
        (
            &["--outbound-client-cert", &missing],
            "none.crt: No such file or directory (os error 2): want a certificate",
        ),
        (&["--outbound-client-cert", &pair, "--outbound-client-cert", &foreign], "has a value already"),
        (&["--outbound-client-cert", "https://a.test=a.crt"], "want PATTERN=CERT,KEY"),
        (&["--outbound-client-cert", "http://a.test=a.crt,a.key"], "only https"),
        (&["--outbound-ca", &ca, "--outbound-ca", &ca], "has a value already"),
        (&["--outbound-ca", &key_for_ca], "a.key: it contains no certificate"),
        (&["--outbound-ca", "https://a.test"], "want PATTERN=FILE"),
    ] {
        let guest = testkit::paths::guest("service");
        let listeners = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--no-cache"];
        let output = run(&[&["serve", text(&guest)], &listeners[..], flags].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{flags:?}: {message}");
        assert!(message.contains(named) && message.contains(flags[0]), "{flags:?}: {message}");
    }
}
