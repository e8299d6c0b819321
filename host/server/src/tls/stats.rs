//! Metrics of TLS.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use wasi_http_host_core::{Exposition, Gauge, MetricKind};

/// The outcome of a handshake.
#[derive(Clone, Copy, Debug)]
pub(super) enum Handshake {
    /// The handshake succeeded.
    Ok,
    /// There was no agreement, or the client ended the handshake.
    Failed,
    /// The handshake took too long.
    TimedOut,
    /// The handshake waited too long for a permit.
    Overloaded,
    /// The client did not speak TLS.
    NotTls,
}

impl Handshake {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Ok, "ok"),
        (Self::Failed, "failed"),
        (Self::TimedOut, "timeout"),
        (Self::Overloaded, "overload"),
        (Self::NotTls, "not_tls"),
    ];
}

/// Counts of handshakes and of certificate reloads, and the expiry time of the certificate in use.
#[derive(Debug, Default)]
pub struct TlsStats {
    active: Gauge,
    handshakes: [AtomicU64; Handshake::ALL.len()],
    not_after: AtomicI64,
    reloaded: AtomicU64,
    failed: AtomicU64,
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
        if let Some(count) = self.handshakes.get(outcome as usize) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// Sets the expiry time of the pair in use, in seconds since 1970.
    pub(super) fn expires(&self, not_after: i64) {
        self.not_after.store(not_after, Relaxed);
    }

    /// Counts a change of the files, by whether the new pair was taken over.
    pub(super) fn reload(&self, taken_over: bool) {
        let count = if taken_over { &self.reloaded } else { &self.failed };
        count.fetch_add(1, Relaxed);
    }

    /// Writes all metrics.
    pub fn expose(&self, to: &mut Exposition) {
        let name = "wasi_http_host_tls_handshakes_total";
        to.family(name, MetricKind::Counter, "TLS handshakes that are over, by how they ended.");
        for (outcome, label) in Handshake::ALL {
            let count = self.handshakes.get(outcome as usize).map_or(0, |count| count.load(Relaxed));
            to.sample(name, &[("outcome", label)], count);
        }
        to.gauge(
            "wasi_http_host_tls_handshakes_active",
            "TLS handshakes that have a place.",
            self.active.get(),
        );
        to.gauge(
            "wasi_http_host_tls_certificate_not_after_seconds",
            "When the first certificate of the chain in use expires, in seconds from 1970.",
            self.not_after.load(Relaxed),
        );
        let name = "wasi_http_host_tls_certificate_reloads_total";
        to.family(
            name,
            MetricKind::Counter,
            "Changes of the certificate's files; failed: the pair before them stays.",
        );
        to.sample(name, &[("outcome", "ok")], self.reloaded.load(Relaxed));
        to.sample(name, &[("outcome", "failed")], self.failed.load(Relaxed));
    }
}
