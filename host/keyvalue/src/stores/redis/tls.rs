//! TLS to Redis: the roots of outbound requests, and the host's certificate where the server asks for one.

use super::config::RedisConfig;
use rustls::ClientConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use wasi_http_host_core::unreadable;
use wasi_http_host_egress::{RootsError, Tls};

/// Largest file with a certificate or a key, in bytes.
const MAX_PEM_BYTES: u64 = 256 << 10;

/// The PEM files of the host's certificate.
struct ClientCertificate {
    chain: PathBuf,
    key: PathBuf,
}

pub(super) struct Security {
    roots: Tls,
    client: Option<ClientCertificate>,
}

impl Security {
    pub(super) fn new(config: &RedisConfig) -> Result<Self, RootsError> {
        let roots = Tls::new(config.ca_file.as_deref())?;
        let files = config.client_certificate.clone().zip(config.client_key.clone());
        Ok(Self { roots, client: files.map(|(chain, key)| ClientCertificate { chain, key }) })
    }

    /// Encrypts a connection to `host`, whose certificate must name it.
    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let mut config = ClientConfig::clone(&*self.roots.config().await.map_err(|e| e.to_string())?);
        config.alpn_protocols.clear();
        if let Some(files) = &self.client {
            // Read for each connection: the next connection uses a renewed certificate.
            config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(files.read().await?));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(|e| e.to_string())?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| format!("TLS: {e}"))
    }
}

impl ClientCertificate {
    async fn read(&self) -> Result<CertifiedKey, String> {
        let failed = |path: &Path, error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = read("--redis-client-certificate", &self.chain).await?;
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
        let chain = chain.map_err(|error| failed(&self.chain, &error))?;
        let key = PrivateKeyDer::from_pem_slice(&read("--redis-client-key", &self.key).await?);
        let key = key.map_err(|error| failed(&self.key, &error))?;
        let provider = rustls::crypto::ring::default_provider();
        CertifiedKey::from_der(chain, key, &provider).map_err(|error| failed(&self.chain, &error))
    }
}

/// `flag` names the file.
async fn read(flag: &str, path: &Path) -> Result<Vec<u8>, String> {
    let mut text = Vec::new();
    let read = async {
        let file = tokio::fs::File::open(path).await?;
        file.take(MAX_PEM_BYTES).read_to_end(&mut text).await
    };
    read.await.map_err(|error| format!("{flag}: {}: {}", path.display(), unreadable(path, "PEM", &error)))?;
    Ok(text)
}
