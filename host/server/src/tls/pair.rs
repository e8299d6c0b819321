//! Reads a certificate and its key from two files.

use std::{
    fs::File,
    io::{self, Read as _},
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
use sha2::{Digest as _, Sha256};

use wasi_http_host_core::unreadable;

use super::validity;

/// Maximum size of a file in bytes. A chain has some thousands.
const MAX_FILE: u64 = 1 << 20;

/// The SHA-256 digest of both files, to compare two readings.
pub(super) type Digest = [u8; 32];

/// The paths of the two files.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) cert: PathBuf,
    pub(super) key: PathBuf,
}

/// The contents of the two files, not parsed.
pub(super) struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// A valid certificate with its key.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certified: Arc<CertifiedKey>,
    /// The earliest expiry time in the chain, in seconds since 1970.
    pub(super) not_after: i64,
}

/// The reason why there is no valid pair. The text has nothing of the key's contents.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PairError {
    /// The path of the certificate's file, and what is wrong.
    Cert(String),
    /// The path of the key's file, and what is wrong.
    Key(String),
}

impl Files {
    /// Reads both files. If one of them is being replaced, they do not match; the next reading finds both complete.
    pub(super) fn read(&self) -> Result<Contents, PairError> {
        let message = |path: &Path, wanted: &str, error: io::Error| {
            format!("{}: {}", path.display(), unreadable(path, wanted, &error))
        };
        let key = read(&self.key)
            .map_err(|error| PairError::Key(message(&self.key, "the key of --tls-cert (PEM)", error)))?;
        let cert = read(&self.cert)
            .map_err(|error| PairError::Cert(message(&self.cert, "a certificate (PEM)", error)))?;
        Ok(Contents { cert, key })
    }

    /// Parses the contents, and checks that the key belongs to the certificate.
    pub(super) fn parse(&self, contents: &Contents) -> Result<Pair, PairError> {
        let cert_error =
            |what: &dyn std::fmt::Display| PairError::Cert(format!("{}: {what}", self.cert.display()));
        let key_error =
            |what: &dyn std::fmt::Display| PairError::Key(format!("{}: {what}", self.key.display()));
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

impl Contents {
    pub(super) fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update((self.cert.len() as u64).to_be_bytes());
        hash.update(&self.cert);
        hash.update(&self.key);
        hash.finalize().into()
    }
}

impl PairError {
    /// Returns the path of the file and what is wrong.
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Cert(message) | Self::Key(message) => message,
        }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Check the type before opening: opening a pipe without a writer would wait forever.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other(format!("over the limit of {MAX_FILE} bytes")));
    }
    Ok(bytes)
}

/// Returns a fixed text for a PEM error. Some of the parser's own messages repeat the faulty line, which may be
/// part of a key.
fn pem_error(error: &pem::Error, none: &'static str) -> &'static str {
    match error {
        pem::Error::NoItemsFound => none,
        _ => "not well-formed PEM",
    }
}
