//! The certificate for new connections. When the files change, valid contents replace the certificate, and invalid
//! contents leave it in use.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use wasi_http_host_certificates::{Change, Pair, PairError, PairFiles, Watched};

use super::stats::{CertificateReload, TlsStats};

/// The certificate and key in use, and the files that they came from.
#[derive(Debug)]
pub(super) struct Certificate {
    pair: Watched<PairFiles>,
    stats: Arc<TlsStats>,
}

impl Certificate {
    /// Loads the certificate and key from the files.
    pub(super) fn load(files: PairFiles, stats: Arc<TlsStats>) -> Result<Self, PairError> {
        let this = Self { pair: Watched::load(files)?, stats };
        this.log_in_use(&this.pair.current());
        Ok(this)
    }

    /// Reads the files, and replaces the pair if the contents are new and valid. Logs each failure once.
    pub(super) fn check_files(&self) {
        match self.pair.check() {
            Change::None => {}
            Change::Replaced(pair) => {
                self.stats.reload(CertificateReload::Ok);
                self.log_in_use(&pair);
            }
            Change::Failed(error) => {
                self.stats.reload(CertificateReload::Failed);
                tracing::error!(error, "TLS: cannot use the new certificate: the previous one stays active");
            }
        }
    }

    fn log_in_use(&self, pair: &Pair) {
        self.stats.expires(pair.not_after);
        let file = self.pair.source().cert.display();
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
        Some(self.pair.current().certified.clone())
    }
}

#[cfg(test)]
mod tests;
