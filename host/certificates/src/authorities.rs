//! Reads certificates of authorities from a file.

use std::path::{Path, PathBuf};

use rustls::{
    RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject as _},
    },
};
use wasi_http_host_core::unreadable;

use crate::{file, watched::Source};

/// The path of a PEM file of certificates to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityFile(pub PathBuf);

/// An error: the host cannot use a file of authorities.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// The file cannot be read or is not PEM.
    #[error("{}: {}", path.display(), pem_reason(path, source))]
    Pem {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong with the file.
        source: pem::Error,
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

impl AuthorityFile {
    /// Reads and parses the file.
    ///
    /// # Errors
    /// When the file cannot be read, or has no certificate or an invalid one.
    pub fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, RootsError> {
        let contents = self.read()?;
        self.parse_certificates(&contents)
    }

    fn parse_certificates(&self, contents: &[u8]) -> Result<Vec<CertificateDer<'static>>, RootsError> {
        let certificates = CertificateDer::pem_slice_iter(contents).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|source| self.pem(source))?;
        if certificates.is_empty() {
            return Err(RootsError::Empty(self.0.clone()));
        }
        self.store(&certificates)?;
        Ok(certificates)
    }

    fn store(&self, certificates: &[CertificateDer<'static>]) -> Result<RootCertStore, RootsError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates {
            let added = roots.add(certificate.clone());
            added.map_err(|source| RootsError::Certificate { path: self.0.clone(), source })?;
        }
        Ok(roots)
    }

    fn pem(&self, source: pem::Error) -> RootsError {
        RootsError::Pem { path: self.0.clone(), source }
    }
}

impl Source for AuthorityFile {
    type Contents = Vec<u8>;
    type Value = RootCertStore;
    type Error = RootsError;

    fn read(&self) -> Result<Vec<u8>, RootsError> {
        file::read(&self.0).map_err(|error| self.pem(pem::Error::Io(error)))
    }

    fn files(contents: &Vec<u8>) -> Vec<&[u8]> {
        vec![contents]
    }

    fn parse(&self, contents: &Vec<u8>) -> Result<RootCertStore, RootsError> {
        self.store(&self.parse_certificates(contents)?)
    }
}

fn pem_reason(path: &Path, source: &pem::Error) -> String {
    match source {
        pem::Error::Io(error) => unreadable(path, "certificates (PEM) to trust", error),
        source => source.to_string(),
    }
}
