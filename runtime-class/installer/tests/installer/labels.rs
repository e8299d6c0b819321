//! The node's label, set on an API server with TLS.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, mpsc},
    thread,
};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivatePkcs8KeyDer};
use tempfile::TempDir;
use wasi_http_installer::label::Api;

/// A fake API server. Each connection gets the next of its responses.
struct Server {
    port: String,
    account: TempDir,
    /// Head and body of each request.
    requests: mpsc::Receiver<(String, String)>,
}

fn serve(responses: &'static [&'static str]) -> Server {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let account = tempfile::tempdir().expect("a directory");
    fs::write(account.path().join("token"), "secret\n").expect("a token");
    let older = generate_simple_self_signed(["older.example.com".to_owned()]).expect("a certificate").cert;
    fs::write(account.path().join("ca.crt"), older.pem() + &cert.pem()).expect("authorities");
    let key = PrivatePkcs8KeyDer::from(signing_key.serialize_der()).into();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a server");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let (sender, requests) = mpsc::channel();
    let config = Arc::new(config);
    thread::spawn(move || {
        for response in responses {
            let Ok((socket, _)) = listener.accept() else { return };
            let tls = ServerConnection::new(Arc::clone(&config)).expect("a session");
            let mut stream = BufReader::new(StreamOwned::new(tls, socket));
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if stream.read_line(&mut head).unwrap_or(0) == 0 {
                    return;
                }
            }
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body).expect("a body");
            let response = format!("HTTP/1.1 {response}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.get_mut().write_all(response.as_bytes()).expect("a response");
            stream.get_mut().conn.send_close_notify();
            let _client_may_be_gone = stream.get_mut().flush();
            let _test_may_have_ended = sender.send((head, String::from_utf8(body).expect("text")));
        }
    });
    Server { port, account, requests }
}

impl Server {
    fn api(&self) -> Api {
        Api::at("127.0.0.1", &self.port, self.account.path()).expect("an API server")
    }
}

#[test]
fn the_label_is_patched_with_the_pods_token() {
    let server = serve(&["200 OK", "200 OK"]);
    server.api().label("node-1", true).expect("labelled");
    let (head, body) = server.requests.recv().expect("a request");
    assert!(head.starts_with("PATCH /api/v1/nodes/node-1 HTTP/1.1\r\n"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(head.contains("authorization: bearer secret\r\n"), "{head}");
    assert!(head.contains("content-type: application/merge-patch+json\r\n"), "{head}");
    assert_eq!(body, r#"{"metadata":{"labels":{"runtime.wasi-http/ready":"true"}}}"#);

    server.api().label("node-1", false).expect("the label is off");
    let (_, body) = server.requests.recv().expect("a request");
    assert_eq!(body, r#"{"metadata":{"labels":{"runtime.wasi-http/ready":null}}}"#);
}

#[test]
fn a_request_is_retried_when_the_server_is_overloaded() {
    let server = serve(&["503 Service Unavailable", "200 OK"]);
    server.api().label("node-1", true).expect("labelled");
    assert_eq!(server.requests.iter().take(2).count(), 2);
}

#[test]
fn a_refusal_is_not_retried_and_the_error_names_the_node() {
    let server = serve(&["403 Forbidden"]);
    let error = server.api().label("node-1", true).expect_err("refused").to_string();
    assert!(error.contains("node-1") && error.contains("403"), "{error}");
}

#[test]
fn a_server_of_another_certificate_authority_does_not_get_the_token() {
    let (server, other) = (serve(&["200 OK"; 5]), serve(&[]));
    let api = Api::at("127.0.0.1", &server.port, other.account.path()).expect("an API server");
    let error = api.label("node-1", true).expect_err("refused").to_string();
    assert!(error.contains("node-1") && error.contains("certificate"), "{error}");
    assert!(server.requests.try_recv().is_err());
}

#[test]
fn without_a_service_account_the_error_names_the_missing_file() {
    let empty = tempfile::tempdir().expect("a directory");
    let error = Api::at("127.0.0.1", "443", empty.path()).expect_err("refused").to_string();
    assert!(error.contains("token"), "{error}");
}
