//! Certificates of clients: which clients are served, and what the component and the access log say of them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use rustls::{AlertDescription, HandshakeKind, SupportedProtocolVersion, version};
use testkit::{
    Host, LogLine,
    http::{Connection, Request, Response},
    paths::scratch,
    tls::{Authority, Certificate, Trust},
};
use tokio::{io::AsyncReadExt as _, net::TcpStream};
use tokio_rustls::client::TlsStream;

use crate::{
    harness::{run, start_guest},
    tls::{over_h1, over_h2},
};

const NAME: &str = "name.test";
const H1: &[u8] = b"http/1.1";
const H2: &[u8] = b"h2";
const RELOADS: &str = "wasi_http_host_tls_certificate_reloads_total";

/// What a client may write to pass for another client.
const FORGED: [(&str, &str); 4] = [
    ("client-cert", ":AAAA:"),
    ("Client-Cert", ":BBBB:"),
    ("client-cert-chain", ":AAAA:, :BBBB:"),
    ("connection", "client-cert"),
];

/// A host with a certificate, and the file of the authorities that it trusts to sign clients' certificates.
struct Site {
    server: Certificate,
    directory: PathBuf,
}

impl Site {
    fn new(test: &str, clients: &Authority) -> Self {
        let site = Self { server: Certificate::self_signed(NAME), directory: scratch(test) };
        fs::write(site.file("tls.crt"), &site.server.pem).unwrap();
        fs::write(site.file("tls.key"), &site.server.key).unwrap();
        site.trust(&clients.pem);
        site
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn trust(&self, authorities: &str) {
        fs::write(self.file("clients.pem"), authorities).unwrap();
    }

    async fn serve(&self, flags: &[&str]) -> Host {
        let (cert, key) = (self.file("tls.crt"), self.file("tls.key"));
        start_guest("service", &[&["--tls-cert", text(&cert), "--tls-key", text(&key)], flags].concat()).await
    }

    async fn serve_clients(&self, flags: &[&str]) -> Host {
        self.serve(&[&["--tls-client-ca", text(&self.file("clients.pem"))], flags].concat()).await
    }

    fn client(&self, alpn: &[u8], version: &'static SupportedProtocolVersion) -> Trust {
        Trust::with_version([&self.server.der], &[alpn], version)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn connect(host: &Host, client: &Trust) -> TlsStream<TcpStream> {
    client.connect(host.address(), NAME).await.expect("a handshake")
}

async fn send(stream: TlsStream<TcpStream>, request: Request) -> Response {
    match stream.get_ref().1.alpn_protocol() {
        Some(H2) => over_h2(stream, request, Bytes::new()).await,
        _ => over_h1(stream, request).await,
    }
}

/// Sends a request with forged headers over a new connection. Returns the component's headers of the client's certificate, and the access
/// line.
async fn seen(host: &Host, stream: TlsStream<TcpStream>, id: &str) -> (Vec<String>, LogLine) {
    let mut request = Request::get("/headers").header("x-request-id", id);
    for (name, value) in FORGED {
        // HTTP/2 has no field of the connection.
        if name != "connection" || stream.get_ref().1.alpn_protocol() != Some(H2) {
            request = request.header(name, value);
        }
    }
    let answer = send(stream, request).await;
    (about_certificate(&answer), host.wait_for_line(|line| line["request_id"] == id).await)
}

fn about_certificate(answer: &Response) -> Vec<String> {
    assert_eq!(answer.status, 200);
    answer.text().lines().filter(|line| line.contains("cert")).map(str::to_owned).collect()
}

/// Decodes the value of `Client-Cert` with another implementation than the host's.
fn decoded(line: &str) -> Vec<u8> {
    let value = line.strip_prefix("client-cert: :").and_then(|line| line.strip_suffix(':')).unwrap();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{value}\n-----END CERTIFICATE-----\n");
    rustls::pki_types::pem::PemObject::from_pem_slice(pem.as_bytes())
        .map(|certificate: rustls::pki_types::CertificateDer<'_>| certificate.to_vec())
        .unwrap()
}

#[tokio::test]
async fn the_component_and_the_log_know_the_verified_certificate() {
    let authority = Authority::new();
    let site = Site::new("client-certificates", &authority);
    let alice = authority.issue("alice.test");
    for flags in [&[][..], &["--tls-client-auth", "optional"]] {
        let host = site.serve_clients(flags).await;
        for (at, (alpn, version)) in
            [(H1, &version::TLS13), (H2, &version::TLS13), (H1, &version::TLS12), (H2, &version::TLS12)]
                .into_iter()
                .enumerate()
        {
            let stream = connect(&host, &site.client(alpn, version).showing(&alice)).await;
            let (headers, line) = seen(&host, stream, &format!("shown-{at}")).await;
            assert_eq!(headers.len(), 1, "{headers:?}");
            assert_eq!(decoded(&headers[0]), *alice.der, "{headers:?}");
            assert_eq!(line["client_subject"], "CN=alice.test");
            assert_eq!(line["client_names"], serde_json::json!(["DNS:alice.test"]));
        }
    }
}

#[tokio::test]
async fn what_a_client_says_of_its_certificate_is_dropped() {
    let authority = Authority::new();
    let site = Site::new("client-certificates-forged", &authority);
    let optional = site.serve_clients(&["--tls-client-auth", "optional"]).await;
    let without_auth = site.serve(&[]).await;
    for host in [&optional, &without_auth] {
        for alpn in [H1, H2] {
            let stream = connect(host, &site.client(alpn, &version::TLS13)).await;
            let (headers, line) = seen(host, stream, &format!("{}", alpn.len())).await;
            assert!(headers.is_empty(), "{headers:?}");
            assert!(line.get("client_subject").is_none() && line.get("client_names").is_none(), "{line}");
        }
    }
    // A certificate that nobody asks for is not shown.
    let stream =
        connect(&without_auth, &site.client(H1, &version::TLS13).showing(&authority.issue("a"))).await;
    assert!(seen(&without_auth, stream, "unasked").await.0.is_empty());
    // Neither plain HTTP nor a trusted proxy can name a certificate.
    for flags in [&[][..], &["--trusted-proxies", "127.0.0.0/8"]] {
        let host = start_guest("service", flags).await;
        let request = host.request("GET", "/headers");
        let answer =
            FORGED.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await;
        assert!(about_certificate(&answer).is_empty(), "{}", answer.text());
    }
}

/// The alert that ends the connection: in the handshake, or, in TLS 1.3, after the client's part of it.
async fn alert(host: &Host, client: &Trust) -> AlertDescription {
    let error = match client.connect(host.address(), NAME).await {
        Ok(mut stream) => stream.read_u8().await.expect_err("the connection is refused"),
        Err(error) => error,
    };
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match error {
        Some(rustls::Error::AlertReceived(alert)) => *alert,
        error => panic!("no alert: {error:?}"),
    }
}

#[tokio::test]
async fn a_client_without_a_valid_certificate_gets_an_alert_and_is_counted() {
    let (authority, other) = (Authority::new(), Authority::named("another authority"));
    let site = Site::new("client-certificates-refused", &authority);
    let required = site.serve_clients(&[]).await;
    let optional = site.serve_clients(&["--tls-client-auth", "optional"]).await;
    let count = async |host: &Host, reason: &str, n: f64| {
        let name = format!("wasi_http_host_tls_handshakes_total{{outcome=\"client_certificate_{reason}\"}}");
        host.wait_for_metric(&name, |count| count == n).await;
    };
    let expired = authority.issue_until("expired.test", 2020);
    let foreign = other.issue("foreign.test");
    for (n, version) in [(1.0, &version::TLS13), (2.0, &version::TLS12)] {
        let client = site.client(H1, version);
        assert_eq!(alert(&required, &client).await, AlertDescription::CertificateRequired);
        count(&required, "missing", n).await;
        for host in [&required, &optional] {
            assert_eq!(
                alert(host, &client.clone().showing(&expired)).await,
                AlertDescription::CertificateExpired
            );
            count(host, "expired", n).await;
            assert_eq!(alert(host, &client.clone().showing(&foreign)).await, AlertDescription::UnknownCA);
            count(host, "invalid", n).await;
        }
    }
    let answered = "wasi_http_host_requests_total{component=\"guest_service\",status=\"2xx\"}";
    assert_eq!(required.metric(answered).await + optional.metric(answered).await, 0.0);
}

#[tokio::test]
async fn changed_authorities_count_for_new_connections_and_open_ones_stay() {
    let (old, new) = (Authority::new(), Authority::named("another authority"));
    let site = Site::new("client-certificates-renewed", &old);
    let host = site.serve_clients(&[]).await;
    let client = site.client(H1, &version::TLS13).resuming();
    let (by_old, by_new) = (client.clone().showing(&old.issue("old")), client.showing(&new.issue("new")));
    let mut open = Connection::over(connect(&host, &by_old).await);
    let mut hello = async || {
        open.write(&Request::get("/hello/open").bytes(NAME)).await.unwrap();
        assert_eq!(open.response().await.unwrap().text(), "hello open");
    };
    hello().await;
    assert_eq!(alert(&host, &by_new).await, AlertDescription::UnknownCA);
    // A broken file leaves the authorities in use.
    site.trust("");
    host.wait_for_metric(&format!("{RELOADS}{{outcome=\"failed\"}}"), |n| n == 1.0).await;
    let said = host.wait_for_line(|line| line["level"] == "ERROR").await;
    assert!(said["error"].as_str().unwrap().contains("clients.pem: it contains no certificate"), "{said}");
    let stream = connect(&host, &by_old).await;
    // A resumed session would not be verified again.
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(over_h1(stream, Request::get("/hello/x")).await.text(), "hello x");
    site.trust(&new.pem);
    host.wait_for_metric(&format!("{RELOADS}{{outcome=\"ok\"}}"), |n| n == 1.0).await;
    assert_eq!(alert(&host, &by_old).await, AlertDescription::UnknownCA);
    assert_eq!(over_h1(connect(&host, &by_new).await, Request::get("/hello/x")).await.text(), "hello x");
    hello().await;
}

#[test]
fn authorities_that_cannot_be_used_end_the_start() {
    let site = Site::new("client-certificates-broken", &Authority::new());
    fs::write(site.file("empty.pem"), "").unwrap();
    let file = |name: &str| text(&site.file(name)).to_owned();
    let [cert, key, clients] = ["tls.crt", "tls.key", "clients.pem"].map(file);
    let [empty, missing] = ["empty.pem", "missing.pem"].map(file);
    let pair = ["--tls-cert", &cert, "--tls-key", &key];
    for (flags, named) in [
        (vec!["--tls-client-ca", &clients], "--tls-cert"),
        ([&pair[..], &["--tls-client-auth", "required"]].concat(), "--tls-client-ca"),
        ([&pair[..], &["--tls-client-ca", &missing]].concat(), "--tls-client-ca: "),
        ([&pair[..], &["--tls-client-ca", &empty]].concat(), "empty.pem: it contains no certificate"),
    ] {
        let output = run(&[&["serve", "app.wasm"], &flags[..]].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{flags:?}: {message}");
        assert!(message.contains(named), "{flags:?}: {message}");
    }
}
