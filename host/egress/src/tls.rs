//! TLS of outbound connections: the trusted root certificates, and the host's own certificate.

use super::identity::Identity;
use rustls::pki_types::CertificateDer;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::OnceCell;
use wasi_http_host_certificates::{AuthorityFile, RootsError};

/// The root certificates that outbound TLS trusts. The first `https` request reads the system's certificates.
#[derive(Debug)]
pub struct Tls {
    extra: Vec<CertificateDer<'static>>,
    roots: OnceCell<Arc<RootCertStore>>,
    config: OnceCell<Arc<ClientConfig>>,
}

impl Tls {
    /// Trusts the system's root certificates and the certificates of the PEM file `extra`. The file is read now, so
    /// that a wrong setting fails at the start.
    ///
    /// # Errors
    /// When the file cannot be read or has an invalid certificate.
    pub fn new(extra: Option<&Path>) -> Result<Self, RootsError> {
        let read = |file: &Path| AuthorityFile(file.to_owned()).certificates();
        let extra = extra.map(read).transpose()?.unwrap_or_default();
        Ok(Self { extra, roots: OnceCell::new(), config: OnceCell::new() })
    }

    /// Returns the configuration without an identity, which all connections share together with its session tickets.
    /// The first call loads the root certificates.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub async fn config(&self) -> Result<Arc<ClientConfig>, rustls::Error> {
        let make = async || config(self.roots().await?, None).map(Arc::new);
        self.config.get_or_try_init(make).await.cloned()
    }

    /// Returns the configuration of `identity`. Connections of this identity share its session tickets; connections of
    /// another identity do not.
    ///
    /// # Errors
    /// When rustls refuses the configuration.
    pub async fn config_of(&self, identity: &Identity) -> Result<Arc<ClientConfig>, rustls::Error> {
        let make = async || {
            let roots = match identity.authorities() {
                Some(authorities) => authorities.clone(),
                None => self.roots().await?,
            };
            config(roots, identity.certificate().cloned()).map(Arc::new)
        };
        identity.config().get_or_try_init(make).await.cloned()
    }

    /// Returns the system's root certificates and the extra ones.
    async fn roots(&self) -> Result<Arc<RootCertStore>, rustls::Error> {
        let load = async || {
            let extra = self.extra.clone();
            // On some systems this reads a few hundred files.
            let loaded = tokio::task::spawn_blocking(move || system(extra)).await;
            loaded.map(Arc::new).map_err(|e| rustls::Error::General(e.to_string()))
        };
        self.roots.get_or_try_init(load).await.cloned()
    }
}

fn system(extra: Vec<CertificateDer<'static>>) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    let (added, ignored) = roots.add_parsable_certificates(native.certs);
    if added == 0 {
        // A scratch image has no root certificates. The bundled root certificates are Mozilla's.
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    tracing::debug!(system = added, ignored, bundled = added == 0, extra = extra.len(), "outbound TLS roots");
    roots.add_parsable_certificates(extra);
    roots
}

fn config(
    roots: Arc<RootCertStore>,
    certificate: Option<Arc<CertifiedKey>>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match certificate {
        Some(certificate) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certificate))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
