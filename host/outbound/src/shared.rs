//! What all outbound requests of the process share.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use wasi_http_host_egress::{Proxies, Resolve, RootsError, SystemResolver, Tls};

/// The bounds of outbound requests. A guest's own options may only shorten the times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// For a place among the concurrent requests, and again for a connection: look-up, TCP, proxy and TLS.
    pub connect: Duration,
    /// From the connection to the response's head.
    pub first_byte: Duration,
    /// From one piece of the response's body to the next.
    pub between_bytes: Duration,
    /// From the request to the end of the response's body.
    pub total: Duration,
    /// Size of a response's head, in bytes.
    pub max_response_head: usize,
    /// Size of a response's body, in bytes.
    pub max_response_body: u64,
    /// Requests of a component in flight in the process.
    pub max_concurrent: usize,
    /// Requests that wait for a place among those.
    pub max_waiting: usize,
    /// Idle connections that a client keeps for each origin.
    pub max_idle_per_origin: usize,
    /// How long a client keeps them.
    pub idle: Duration,
    /// Connections of the process in all, those that are kept included.
    pub max_open: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(30),
            between_bytes: Duration::from_secs(30),
            total: Duration::from_secs(60),
            max_response_head: 64 << 10,
            max_response_body: 64 << 20,
            max_concurrent: 256,
            max_waiting: 1024,
            max_idle_per_origin: 32,
            idle: Duration::from_secs(60),
            max_open: Semaphore::MAX_PERMITS,
        }
    }
}

/// What [`Outbound`] is made of.
#[derive(Debug)]
pub struct OutboundSettings {
    /// The bounds.
    pub limits: Limits,
    /// Which requests go through a proxy.
    pub proxies: Proxies,
    /// A PEM file of certificates to trust beside the system's.
    pub extra_ca_file: Option<PathBuf>,
}

impl Default for OutboundSettings {
    fn default() -> Self {
        Self { limits: Limits::default(), proxies: Proxies::none(), extra_ca_file: None }
    }
}

/// What all outbound requests of the process share.
pub struct Outbound {
    limits: Limits,
    proxies: Proxies,
    resolver: Arc<dyn Resolve>,
    tls: Tls,
    /// For connections that are open.
    places: Arc<Semaphore>,
}

impl Outbound {
    /// Outbound requests with these settings and the system's resolver.
    ///
    /// # Errors
    /// When the extra CA file cannot be used.
    pub fn new(settings: OutboundSettings) -> Result<Self, RootsError> {
        Ok(Self {
            tls: Tls::new(settings.extra_ca_file.as_deref())?,
            places: Arc::new(Semaphore::new(settings.limits.max_open.min(Semaphore::MAX_PERMITS))),
            limits: settings.limits,
            proxies: settings.proxies,
            resolver: Arc::new(SystemResolver::default()),
        })
    }

    /// The same with another resolver.
    #[must_use]
    pub fn with_resolver(self, resolver: Arc<dyn Resolve>) -> Self {
        Self { resolver, ..self }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn proxies(&self) -> &Proxies {
        &self.proxies
    }

    pub(super) fn resolver(&self) -> &dyn Resolve {
        &*self.resolver
    }

    pub(super) fn tls(&self) -> &Tls {
        &self.tls
    }

    pub(super) fn places(&self) -> &Arc<Semaphore> {
        &self.places
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("limits", &self.limits)
            .field("proxies", &self.proxies)
            .finish_non_exhaustive()
    }
}
