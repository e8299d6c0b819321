//! Metrics of TLS.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use wasi_http_host_core::{Exposition, Gauge, MetricKind, labelled_counters};

labelled_counters! {
    /// The outcome of a handshake.
    Handshake, HandshakeCounters {
        /// The handshake succeeded.
        Ok = "ok",
        /// There was no agreement, or the client ended the handshake.
        Failed = "failed",
        /// The handshake took too long.
        TimedOut = "timeout",
        /// The handshake waited too long for a permit.
        Overloaded = "overload",
        /// The client did not speak TLS.
        NotTls = "not_tls",
        /// The client has no certificate, and one is required.
        ClientCertificateMissing = "client_certificate_missing",
        /// The client's certificate has expired.
        ClientCertificateExpired = "client_certificate_expired",
        /// The client's certificate is not valid: no trusted authority has signed it, for example.
        ClientCertificateInvalid = "client_certificate_invalid",
    }
}

labelled_counters! {
    /// The outcome of a reload of the certificate's files, or of the authorities of clients' certificates.
    CertificateReload, CertificateReloadCounters {
        /// The new contents are active.
        Ok = "ok",
        /// The new contents are not valid. The previous contents stay active.
        Failed = "failed",
    }
}

/// Counts of handshakes and of certificate reloads, and the expiry time of the certificate in use.
#[derive(Debug, Default)]
pub struct TlsStats {
    active: Gauge,
    handshakes: HandshakeCounters,
    not_after: AtomicI64,
    reloads: CertificateReloadCounters,
}

/// Counts a handshake as active until it is dropped. The handshake has a permit.
pub(super) struct Active<'a>(&'a TlsStats);

impl<'a> Active<'a> {
    pub(super) fn new(stats: &'a TlsStats) -> Self {
        stats.active.inc();
        Self(stats)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.active.dec();
    }
}

impl TlsStats {
    pub(super) fn handshake(&self, outcome: Handshake) {
        self.handshakes.count(outcome);
    }

    /// Sets the expiry time of the pair in use, in seconds since 1970.
    pub(super) fn expires(&self, not_after: i64) {
        self.not_after.store(not_after, Relaxed);
    }

    pub(super) fn reload(&self, outcome: CertificateReload) {
        self.reloads.count(outcome);
    }

    /// Writes all metrics.
    pub fn expose(&self, to: &mut Exposition) {
        let name = "wasi_http_host_tls_handshakes_total";
        to.family(name, MetricKind::Counter, "Finished TLS handshakes, by outcome.");
        for (outcome, count) in self.handshakes.all() {
            to.sample(name, &[("outcome", outcome)], count);
        }
        to.gauge("wasi_http_host_tls_handshakes_active", "TLS handshakes in progress.", self.active.get());
        to.gauge(
            "wasi_http_host_tls_certificate_not_after_seconds",
            "Unix time at which the first certificate of the active chain expires.",
            self.not_after.load(Relaxed),
        );
        let name = "wasi_http_host_tls_certificate_reloads_total";
        to.family(
            name,
            MetricKind::Counter,
            "Reloads of the files of --tls-cert, --tls-key and --tls-client-ca, by outcome. failed: the previous contents stay active.",
        );
        for (outcome, count) in self.reloads.all() {
            to.sample(name, &[("outcome", outcome)], count);
        }
    }
}
