//! The certificate for new connections. When the files change, valid contents replace the certificate, and invalid
//! contents leave it in use.

use std::{
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    pair::{Digest, Files, Pair, PairError},
    stats::{CertificateReload, TlsStats},
};
use wasi_http_host_core::lock;

/// The certificate and key in use, and the files that they came from.
#[derive(Debug)]
pub(super) struct Certificate {
    current: RwLock<Arc<CertifiedKey>>,
    files: Files,
    seen: Mutex<Seen>,
    stats: Arc<TlsStats>,
}

/// The results of past checks of the files.
#[derive(Debug)]
struct Seen {
    in_use: Digest,
    /// The last failure: the digest of the files' contents if they could be read, and the error message.
    failure: Option<(Option<Digest>, String)>,
}

impl Certificate {
    /// Loads the certificate and key from the files.
    pub(super) fn load(files: Files, stats: Arc<TlsStats>) -> Result<Self, PairError> {
        let contents = files.read()?;
        let pair = files.parse(&contents)?;
        let seen = Mutex::new(Seen { in_use: contents.digest(), failure: None });
        let this = Self { current: RwLock::new(pair.certified.clone()), files, seen, stats };
        this.log_in_use(&pair);
        Ok(this)
    }

    /// Reads the files, and replaces the pair if the contents are new and valid. Logs each failure once.
    pub(super) fn check_files(&self) {
        let mut seen = lock(&self.seen);
        let contents = match self.files.read() {
            Ok(contents) => contents,
            Err(error) => return self.keep_current(&mut seen, None, &error),
        };
        let digest = contents.digest();
        if digest == seen.in_use {
            seen.failure = None;
            return;
        }
        if seen.failure.as_ref().is_some_and(|(failed, _)| *failed == Some(digest)) {
            return;
        }
        match self.files.parse(&contents) {
            Ok(pair) => {
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = pair.certified.clone();
                *seen = Seen { in_use: digest, failure: None };
                self.stats.reload(CertificateReload::Ok);
                self.log_in_use(&pair);
            }
            Err(error) => self.keep_current(&mut seen, Some(digest), &error),
        }
    }

    fn keep_current(&self, seen: &mut Seen, digest: Option<Digest>, error: &PairError) {
        let failure = Some((digest, error.message().to_owned()));
        if seen.failure != failure {
            seen.failure = failure;
            self.stats.reload(CertificateReload::Failed);
            tracing::error!(
                error = error.message(),
                "TLS: cannot use the new certificate: the previous one stays active"
            );
        }
    }

    fn log_in_use(&self, pair: &Pair) {
        self.stats.expires(pair.not_after);
        let file = self.files.cert.display();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let left = pair.not_after.saturating_sub(i64::try_from(now).unwrap_or(i64::MAX));
        if left > 0 {
            tracing::info!(%file, hours_left = left / 3_600, "TLS: certificate loaded");
        } else {
            tracing::warn!(%file, "TLS: the certificate has expired");
        }
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

#[cfg(test)]
mod tests;
