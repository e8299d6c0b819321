//! Tests of TLS: trusted and untrusted certificates.

use super::*;
use rcgen::CertifiedKey;
use std::path::PathBuf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::{ServerConfig, crypto::ring, pki_types::PrivateKeyDer};
use wasi_http_host_egress::RootsError;

/// Starts a server for `name.test` with a self-signed certificate. Returns its address and the certificate's file.
async fn server(directory: &tempfile::TempDir) -> (SocketAddr, PathBuf) {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["name.test".to_owned()]).unwrap();
    let file = directory.path().join("ca.pem");
    std::fs::write(&file, cert.pem()).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
                let _ = stream.shutdown().await;
            }
        }
    });
    (address, file)
}

fn trusting(file: PathBuf) -> Client {
    let mut setup = Setup::open();
    setup.settings.extra_ca_file = Some(file);
    setup.client().0
}

#[tokio::test]
async fn an_extra_authority_is_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let (address, file) = server(&directory).await;
    let client = trusting(file);
    let response = get(&client, &format!("https://name.test:{}/", address.port())).await.unwrap();
    assert_eq!(read(response).await.unwrap(), "ok");
}

#[tokio::test]
async fn a_certificate_for_another_name_or_by_another_authority_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let (address, file) = server(&directory).await;
    let error = failure(&trusting(file), &format!("https://other.test:{}/", address.port())).await;
    assert!(matches!(error, Error::TlsCertificateError), "{error:?}");
    let (client, stats) = Setup::open().client();
    let error = failure(&client, &format!("https://name.test:{}/", address.port())).await;
    assert!(matches!(error, Error::TlsCertificateError), "{error:?}");
    assert_eq!(outcomes(&stats), [("tls", 1)]);
}

#[tokio::test]
async fn plain_text_is_not_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    });
    let (client, _) = Setup::open().client();
    let error = failure(&client, &format!("https://name.test:{}/", address.port())).await;
    assert!(matches!(error, Error::TlsProtocolError), "{error:?}");
}

#[test]
fn a_file_without_certificates_shows_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ca.pem");
    let error = |content: &str| {
        std::fs::write(&file, content).unwrap();
        let settings = OutboundSettings { extra_ca_file: Some(file.clone()), ..OutboundSettings::default() };
        Outbound::new(settings).unwrap_err()
    };
    assert!(matches!(error("not PEM"), RootsError::Empty(_)));
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(matches!(error(junk), RootsError::Certificate { .. }));
    std::fs::remove_file(&file).unwrap();
    let settings = OutboundSettings { extra_ca_file: Some(file.clone()), ..OutboundSettings::default() };
    assert!(Outbound::new(settings).unwrap_err().to_string().contains("ca.pem"));
}
