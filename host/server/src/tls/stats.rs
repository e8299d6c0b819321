//! What is counted of TLS.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use wasi_http_host_core::{Exposition, Gauge, MetricKind};

/// How a handshake ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Handshake {
    /// It was completed.
    Ok,
    /// The two could not agree, or the client broke it off.
    Failed,
    /// It took too long.
    TimedOut,
    /// It waited too long for a place.
    NoPlace,
    /// The client spoke something else.
    NotTls,
}

impl Handshake {
    const ALL: [(Self, &'static str); 5] = [
        (Self::Ok, "ok"),
        (Self::Failed, "failed"),
        (Self::TimedOut, "timeout"),
        (Self::NoPlace, "overload"),
        (Self::NotTls, "not_tls"),
    ];
}

/// What is counted of handshakes, and of the certificate in use.
#[derive(Debug, Default)]
pub struct TlsStats {
    active: Gauge,
    handshakes: [AtomicU64; Handshake::ALL.len()],
    not_after: AtomicI64,
    reloaded: AtomicU64,
    failed: AtomicU64,
}

/// A handshake that has its place.
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

    /// The pair in use from now on, in seconds from 1970.
    pub(super) fn expires(&self, not_after: i64) {
        self.not_after.store(not_after, Relaxed);
    }

    /// The files changed, and were taken over or not.
    pub(super) fn reload(&self, taken_over: bool) {
        let count = if taken_over { &self.reloaded } else { &self.failed };
        count.fetch_add(1, Relaxed);
    }

    /// Writes all of it.
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
