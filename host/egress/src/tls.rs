//! TLS of outbound connections: the trusted root certificates.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{self, CertificateDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::OnceCell;
use wasi_http_host_core::unreadable;

/// The root certificates that outbound TLS trusts. The first `https` request reads the system's certificates.
#[derive(Debug)]
pub struct Tls {
    extra: Vec<CertificateDer<'static>>,
    config: OnceCell<Arc<ClientConfig>>,
}

/// An error: the host cannot use the extra CA file.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read or is not PEM.
    #[error("{}: {}", path.display(), pem_reason(path, source))]
    Pem {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the file.
        source: pki_types::pem::Error,
    },
    /// The file is PEM and has no certificate.
    #[error("{}: it contains no certificate", .0.display())]
    Empty(PathBuf),
    /// The file has a certificate that cannot be parsed.
    #[error("{}: {source}", path.display())]
    Certificate {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the certificate.
        source: rustls::Error,
    },
}

impl Tls {
    /// Trusts the system's root certificates and the certificates of the PEM file `extra`. The file is read now, so
    /// that a wrong setting fails at the start.
    ///
    /// # Errors
    /// When the file cannot be read or has an invalid certificate.
    pub fn new(extra: Option<&Path>) -> Result<Self, RootsError> {
        let extra = extra.map(read).transpose()?.unwrap_or_default();
        Ok(Self { extra, config: OnceCell::new() })
    }

    /// Returns the configuration, which all connections share together with its session tickets. The first call
    /// loads the root certificates.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub async fn config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        let load = || async {
            let extra = self.extra.clone();
            // On some systems this reads a few hundred files.
            let loaded = tokio::task::spawn_blocking(move || config(extra)).await;
            loaded.unwrap_or_else(|e| Err(rustls::Error::General(e.to_string()))).map(Arc::new)
        };
        self.config.get_or_try_init(load).await.cloned()
    }
}

fn pem_reason(path: &Path, source: &pki_types::pem::Error) -> String {
    match source {
        pki_types::pem::Error::Io(error) => unreadable(path, "certificates (PEM) to trust", error),
        source => source.to_string(),
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, RootsError> {
    let pem = |source| RootsError::Pem { path: path.into(), source };
    let certificates = CertificateDer::pem_file_iter(path).map_err(pem)?;
    let certificates = certificates.collect::<Result<Vec<_>, _>>().map_err(pem)?;
    if certificates.is_empty() {
        return Err(RootsError::Empty(path.into()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        let added = roots.add(certificate.clone());
        added.map_err(|source| RootsError::Certificate { path: path.into(), source })?;
    }
    Ok(certificates)
}

fn config(extra: Vec<CertificateDer<'static>>) -> Result<ClientConfig, rustls::Error> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (added, ignored) = roots.add_parsable_certificates(native.certs);
    if added == 0 {
        // A scratch image has no root certificates. The bundled root certificates are Mozilla's.
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    tracing::debug!(system = added, ignored, bundled = added == 0, extra = extra.len(), "outbound TLS roots");
    roots.add_parsable_certificates(extra);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
