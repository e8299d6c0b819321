//! Whom a client trusts.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::fail;

/// The authorities that a client believes, and what it shows of itself.
#[derive(Debug, Clone)]
pub struct Trust(pub(crate) Arc<ClientConfig>);

impl Trust {
    /// Believes the authorities of this PEM text alone.
    ///
    /// # Panics
    /// When it holds none.
    #[track_caller]
    #[must_use]
    pub fn pem(authorities: &str) -> Self {
        Self::build(authorities, None)
    }

    /// The same, and shows a client certificate, both PEM.
    ///
    /// # Panics
    /// When one of the texts does not hold what it should.
    #[track_caller]
    #[must_use]
    pub fn with_client(authorities: &str, certificates: &str, key: &str) -> Self {
        Self::build(authorities, Some((certificates, key)))
    }

    #[track_caller]
    fn build(authorities: &str, client: Option<(&str, &str)>) -> Self {
        let mut roots = RootCertStore::empty();
        for authority in certificates(authorities) {
            roots.add(authority).unwrap_or_else(|error| fail(format!("an authority: {error}")));
        }
        if roots.is_empty() {
            fail("no certificate to trust");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap_or_else(|error| fail(error))
            .with_root_certificates(roots);
        let config = match client {
            None => Ok(builder.with_no_client_auth()),
            Some((chain, key)) => PrivateKeyDer::from_pem_slice(key.as_bytes())
                .map_err(|error| error.to_string())
                .and_then(|key| {
                    builder.with_client_auth_cert(certificates(chain), key).map_err(|error| error.to_string())
                }),
        };
        let mut config = config.unwrap_or_else(|error| fail(format!("a client certificate: {error}")));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(Arc::new(config))
    }
}

#[track_caller]
fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .unwrap_or_else(|error| fail(format!("a certificate: {error}")))
}
