//! Certificates for one test, and what clients trust.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::wait::DEADLINE;

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate, PEM.
    pub pem: String,
    /// The private key, PEM (PKCS#8).
    pub key: String,
    /// The certificate, DER.
    pub der: CertificateDer<'static>,
}

impl Certificate {
    /// A certificate for this DNS name that signs itself.
    #[must_use]
    pub fn self_signed(name: &str) -> Self {
        Self::sign(&params(name))
    }

    /// As [`Certificate::self_signed`], valid until the first day of this year.
    #[must_use]
    pub fn self_signed_until(name: &str, year: i32) -> Self {
        let mut params = params(name);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        Self::sign(&params)
    }

    fn sign(params: &CertificateParams) -> Self {
        let key = key();
        let certificate = params.self_signed(&key).expect("a certificate");
        Self::of(&certificate, &key)
    }

    fn of(certificate: &rcgen::Certificate, key: &KeyPair) -> Self {
        Self { pem: certificate.pem(), key: key.serialize_pem(), der: certificate.der().clone() }
    }
}

/// A certificate authority.
pub struct Authority {
    /// The authority's own certificate, PEM.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another: it makes a key")]
    pub fn new() -> Self {
        Self::named("an authority")
    }

    /// A new one with this name. Of authorities with the same name, a verifier takes one for another, and complains about the signature.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let (mut params, key) = (CertificateParams::default(), key());
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for this DNS name or IP address, signed by the authority.
    #[must_use]
    pub fn issue(&self, name: &str) -> Certificate {
        self.sign(name, params(name))
    }

    /// As [`Authority::issue`], valid until the first day of this year.
    #[must_use]
    pub fn issue_until(&self, name: &str, year: i32) -> Certificate {
        let mut params = params(name);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        self.sign(name, params)
    }

    fn sign(&self, name: &str, mut params: CertificateParams) -> Certificate {
        let key = key();
        // With its issuer's name, a certificate would look self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        Certificate::of(&params.signed_by(&key, &self.issuer).expect("a certificate"), &key)
    }
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new([name.to_owned()]).expect("a DNS name")
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// The certificates in a PEM file.
#[must_use]
pub fn read_certificates(file: &Path) -> Vec<CertificateDer<'static>> {
    parse(&std::fs::read_to_string(file).expect("the file can be read"))
}

#[expect(clippy::panic, reason = "how a test reports it")]
fn parse(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("not a certificate: {error}"))
}

/// What a client trusts and offers. Sessions are not resumed, so that each handshake shows the server's certificate.
#[derive(Debug, Clone)]
pub struct Trust(pub(crate) Arc<ClientConfig>);

impl Trust {
    /// Trusts these certificates alone, and offers these protocols (ALPN).
    #[must_use]
    pub fn certificates<'a>(
        trusted: impl IntoIterator<Item = &'a CertificateDer<'static>>,
        alpn: &[&[u8]],
    ) -> Self {
        Self::build(trusted, alpn, rustls::DEFAULT_VERSIONS, None)
    }

    /// As [`Trust::certificates`], with one version of TLS.
    #[must_use]
    pub fn with_version<'a>(
        trusted: impl IntoIterator<Item = &'a CertificateDer<'static>>,
        alpn: &[&[u8]],
        version: &'static SupportedProtocolVersion,
    ) -> Self {
        Self::build(trusted, alpn, &[version], None)
    }

    /// Trusts the authorities of this PEM text alone, and offers HTTP/1.1.
    #[must_use]
    pub fn pem(authorities: &str) -> Self {
        Self::build(&parse(authorities), &[b"http/1.1"], rustls::DEFAULT_VERSIONS, None)
    }

    /// As [`Trust::pem`], and shows a client certificate: the chain and the key, PEM.
    #[must_use]
    pub fn with_client(authorities: &str, chain: &str, key: &str) -> Self {
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a private key");
        let client = Some((parse(chain), key));
        Self::build(&parse(authorities), &[b"http/1.1"], rustls::DEFAULT_VERSIONS, client)
    }

    /// Shows this certificate.
    #[must_use]
    pub fn showing(self, certificate: &Certificate) -> Self {
        let provider = rustls::crypto::ring::default_provider();
        let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).expect("a private key");
        let shown = CertifiedKey::from_der(vec![certificate.der.clone()], key, &provider);
        let shown = SingleCertAndKey::from(shown.expect("a certificate"));
        self.change(|config| config.client_auth_cert_resolver = Arc::new(shown))
    }

    /// Resumes the sessions of its earlier connections where the server offers it.
    #[must_use]
    pub fn resuming(self) -> Self {
        self.change(|config| config.resumption = rustls::client::Resumption::default())
    }

    fn change(self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = ClientConfig::clone(&self.0);
        change(&mut config);
        Self(Arc::new(config))
    }

    fn build<'a>(
        trusted: impl IntoIterator<Item = &'a CertificateDer<'static>>,
        alpn: &[&[u8]],
        versions: &[&'static SupportedProtocolVersion],
        client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in trusted {
            roots.add(certificate.clone()).expect("a certificate to trust");
        }
        assert!(!roots.is_empty(), "no certificate to trust");
        let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .expect("the provider knows these versions")
            .with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a client certificate"),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        config.resumption = rustls::client::Resumption::disabled();
        Self(Arc::new(config))
    }

    /// Connects by TCP, and does the handshake for this server name.
    ///
    /// # Errors
    /// If the handshake fails, or [`DEADLINE`] passes.
    pub async fn connect(
        &self,
        address: std::net::SocketAddr,
        name: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(name.to_owned()).map_err(std::io::Error::other)?;
        let handshake = async {
            let stream = TcpStream::connect(address).await?;
            TlsConnector::from(Arc::clone(&self.0)).connect(name, stream).await
        };
        tokio::time::timeout(DEADLINE, handshake).await?
    }
}
