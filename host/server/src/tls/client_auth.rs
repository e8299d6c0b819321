//! Clients' certificates: which authorities are trusted, and what the host keeps of a verified certificate.

use std::{path::PathBuf, sync::Arc};

use base64ct::{Base64, Encoding as _};
use clap::ValueEnum;
use http::HeaderValue;
use rustls::{
    CertificateError,
    pki_types::CertificateDer,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use wasi_http_host_certificates::{AuthorityFile, Names, Watched};

use super::{provider::provider, stats::Handshake};

/// Maximum size of a client's certificate in bytes (DER). Components get the certificate in a header.
const MAX_CERTIFICATE: usize = 16 << 10;

/// Whether a client needs a certificate.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// A client without a certificate is served. A certificate that the host cannot verify ends the handshake.
    Optional,
    /// A client without a verified certificate gets no connection.
    #[default]
    Required,
}

/// The authorities that sign clients' certificates.
#[derive(Debug)]
pub(super) struct ClientAuthorities {
    pub(super) roots: Watched<AuthorityFile>,
    auth: ClientAuth,
}

impl ClientAuthorities {
    /// Reads the file. The error names the file.
    pub(super) fn load(file: PathBuf, auth: ClientAuth) -> Result<Self, String> {
        let roots = Watched::load(AuthorityFile(file)).map_err(|error| error.to_string())?;
        Ok(Self { roots, auth })
    }

    /// Returns a verifier that trusts the authorities in use.
    pub(super) fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
        let builder = WebPkiClientVerifier::builder_with_provider(self.roots.current(), provider());
        let builder = match self.auth {
            ClientAuth::Optional => builder.allow_unauthenticated(),
            ClientAuth::Required => builder,
        };
        builder.build().map_err(|error| rustls::Error::General(error.to_string()))
    }
}

/// The verified certificate of a client.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    /// The certificate as the value of `Client-Cert` (RFC 9440, 2.1): a byte sequence of RFC 8941.
    pub(crate) header: HeaderValue,
    /// The names in the certificate, for the access log.
    pub(crate) names: Names,
}

impl ClientCertificate {
    /// Returns `None` if the certificate is larger than [`MAX_CERTIFICATE`].
    pub(super) fn new(certificate: &CertificateDer<'_>) -> Option<Self> {
        if certificate.len() > MAX_CERTIFICATE {
            return None;
        }
        let header = HeaderValue::try_from(format!(":{}:", Base64::encode_string(certificate))).ok()?;
        Some(Self { header, names: Names::of(certificate) })
    }
}

/// Returns the outcome to count for a handshake that failed.
pub(super) fn failure(error: &std::io::Error) -> Handshake {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match error {
        Some(rustls::Error::NoCertificatesPresented) => Handshake::ClientCertificateMissing,
        Some(rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        )) => Handshake::ClientCertificateExpired,
        Some(rustls::Error::InvalidCertificate(_)) => Handshake::ClientCertificateInvalid,
        _ => Handshake::Failed,
    }
}
