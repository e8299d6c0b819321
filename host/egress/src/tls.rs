use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{self, CertificateDer};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// Which certificates outbound TLS trusts; read at the first `https` request, not before.
#[derive(Debug)]
pub struct Tls {
    extra: Vec<CertificateDer<'static>>,
    config: OnceCell<Arc<ClientConfig>>,
}

/// The extra CA file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// It cannot be read, or is not PEM.
    #[error("extra CA file {}: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        source: pki_types::pem::Error,
    },
    /// It is PEM without a certificate.
    #[error("extra CA file {}: no certificate in it", .0.display())]
    Empty(PathBuf),
    /// One of its certificates is none.
    #[error("extra CA file {}: {source}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

impl Tls {
    /// Trust in the system's roots and in the certificates of a PEM file, which is read at once: a mistake in a
    /// setting shows at start.
    pub fn new(extra: Option<&Path>) -> Result<Self, RootsError> {
        let extra = extra.map(read).transpose()?.unwrap_or_default();
        Ok(Self { extra, config: OnceCell::new() })
    }

    /// The configuration that all connections share, and with it the session tickets.
    pub async fn config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        let load = || async {
            let extra = self.extra.clone();
            // Reads a few hundred files on some systems.
            let loaded = tokio::task::spawn_blocking(move || config(extra)).await;
            loaded.unwrap_or_else(|e| Err(rustls::Error::General(e.to_string()))).map(Arc::new)
        };
        self.config.get_or_try_init(load).await.cloned()
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
        // A scratch image has none: the bundled ones are Mozilla's.
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
