//! Reads a certificate and its key from two files.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use wasi_http_host_core::unreadable;

use crate::{file, validity, watched::Source};

/// The paths of the two files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// The certificate (PEM), followed by its chain.
    pub cert: PathBuf,
    /// The private key (PEM: PKCS#8, SEC1 or PKCS#1, without a passphrase).
    pub key: PathBuf,
}

/// The contents of the two files, not parsed.
pub struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// A valid certificate with its key.
#[derive(Debug)]
pub struct Pair {
    /// The certificate, its chain and its key.
    pub certified: Arc<CertifiedKey>,
    /// The earliest expiry time in the chain, in seconds since 1970.
    pub not_after: i64,
}

/// The reason why there is no valid pair. The text has nothing of the key's contents.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The path of the certificate's file, and what is wrong.
    #[error("{0}")]
    Cert(String),
    /// The path of the key's file, and what is wrong.
    #[error("{0}")]
    Key(String),
}

impl Source for PairFiles {
    type Contents = Contents;
    type Value = Pair;
    type Error = PairError;

    /// Reads both files. If one of them is being replaced, they do not match; the next reading finds both complete.
    fn read(&self) -> Result<Contents, PairError> {
        let message = |path: &Path, wanted: &str, error: io::Error| {
            format!("{}: {}", path.display(), unreadable(path, wanted, &error))
        };
        let wanted = format!("the key of {} (PEM)", self.cert.display());
        let key =
            file::read(&self.key).map_err(|error| PairError::Key(message(&self.key, &wanted, error)))?;
        let cert = file::read(&self.cert)
            .map_err(|error| PairError::Cert(message(&self.cert, "a certificate (PEM)", error)))?;
        Ok(Contents { cert, key })
    }

    fn files(contents: &Contents) -> Vec<&[u8]> {
        vec![&contents.cert, &contents.key]
    }

    /// Parses the contents, and checks that the key belongs to the certificate.
    fn parse(&self, contents: &Contents) -> Result<Pair, PairError> {
        let cert_error =
            |what: &dyn fmt::Display| PairError::Cert(format!("{}: {what}", self.cert.display()));
        let key_error = |what: &dyn fmt::Display| PairError::Key(format!("{}: {what}", self.key.display()));
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&contents.cert)
            .collect::<Result<_, _>>()
            .map_err(|error| cert_error(&pem_error(&error, "it contains no certificate")))?;
        let not_after = (chain.iter().map(|certificate| validity::not_after(certificate)))
            .min()
            .ok_or_else(|| cert_error(&"it contains no certificate"))?
            .ok_or_else(|| cert_error(&"one of its certificates is not valid"))?;
        let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|error| {
            key_error(&pem_error(&error, "it contains no private key, or one with a passphrase"))
        })?;
        let key = ring::sign::any_supported_type(&key)
            .map_err(|_| key_error(&"this kind of private key is not supported"))?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                key_error(&format_args!("it does not belong to the certificate in {}", self.cert.display()))
            }
            error => cert_error(&error),
        })?;
        Ok(Pair { certified: Arc::new(certified), not_after })
    }
}

/// Returns a fixed text for a PEM error. Some of the parser's own messages repeat the faulty line, which may be
/// part of a key.
fn pem_error(error: &pem::Error, none: &'static str) -> &'static str {
    match error {
        pem::Error::NoItemsFound => none,
        _ => "not well-formed PEM",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_first_of_a_chain_to_expire_counts() {
        let date = |year| date_time_ymd(year, 1, 1);
        let one = |year| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(["name.test".to_owned()]).unwrap();
            params.not_after = date(year);
            (params.self_signed(&key).unwrap(), key)
        };
        let directory = tempfile::tempdir().unwrap();
        let ((leaf, key), (above, _)) = (one(2040), one(2035));
        let files =
            PairFiles { cert: directory.path().join("tls.crt"), key: directory.path().join("tls.key") };
        fs::write(&files.cert, leaf.pem() + &above.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        let pair = files.parse(&files.read().unwrap()).unwrap();
        assert_eq!(pair.not_after, date(2035).unix_timestamp());
        assert_eq!(pair.certified.cert.len(), 2);
    }
}
