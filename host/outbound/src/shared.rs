//! What all outbound requests of the process share: limits, proxies, resolver, TLS and places for connections.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use super::places::Places;
use tokio::time::sleep;
use wasi_http_host_certificates::CHECK_INTERVAL;
use wasi_http_host_core::Exposition;
use wasi_http_host_egress::{Identities, Proxies, Resolve, RootsError, SystemResolver, Tls};

/// The limits of outbound requests. A guest's own options can only shorten the timeouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Timeout for a permit among the concurrent requests. Also the timeout for opening a connection: look-up, TCP,
    /// proxy and TLS.
    pub connect: Duration,
    /// Timeout from the connection to the response's head.
    pub first_byte: Duration,
    /// Timeout from one frame of the response's body to the next.
    pub between_bytes: Duration,
    /// Timeout from the request to the end of the response's body.
    pub total: Duration,
    /// Maximum size of a response's head, in bytes.
    pub max_response_head: usize,
    /// Maximum size of a response's body, in bytes.
    pub max_response_body: u64,
    /// Maximum number of a component's requests in flight, on all threads together.
    pub max_concurrent: usize,
    /// Maximum number of a component's requests that wait for a permit.
    pub max_waiting: usize,
    /// Maximum number of idle connections that a client keeps for each origin.
    pub max_idle_per_origin: usize,
    /// How long a client keeps an idle connection.
    pub idle: Duration,
    /// Maximum number of open connections of the process, idle connections included.
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
            max_open: usize::MAX,
        }
    }
}

/// The settings of [`Outbound`].
#[derive(Debug)]
pub struct OutboundSettings {
    /// The limits of outbound requests.
    pub limits: Limits,
    /// The proxies of outbound requests.
    pub proxies: Proxies,
    /// A PEM file of certificates to trust besides the system's.
    pub extra_ca_file: Option<PathBuf>,
    /// The host's certificates and private authorities, by patterns of servers.
    pub identities: Identities,
}

impl Default for OutboundSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            proxies: Proxies::none(),
            extra_ca_file: None,
            identities: Identities::default(),
        }
    }
}

/// What all outbound requests of the process share. One instance serves all components and threads.
pub struct Outbound {
    limits: Limits,
    proxies: Proxies,
    resolver: Arc<dyn Resolve>,
    tls: Tls,
    identities: Identities,
    /// Places for open connections.
    places: Arc<Places>,
}

impl Outbound {
    /// Creates the shared state with the system's resolver.
    ///
    /// # Errors
    /// When the extra CA file cannot be used.
    pub fn new(settings: OutboundSettings) -> Result<Self, RootsError> {
        Ok(Self {
            tls: Tls::new(settings.extra_ca_file.as_deref())?,
            places: Places::new(settings.limits.max_open),
            limits: settings.limits,
            proxies: settings.proxies,
            identities: settings.identities,
            resolver: Arc::new(SystemResolver::default()),
        })
    }

    /// Replaces the resolver.
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

    pub(super) fn identities(&self) -> &Identities {
        &self.identities
    }

    /// Reads the files of certificates and authorities at intervals, and replaces what has new and valid contents. Runs
    /// as long as the future is polled, or returns at once if there are no files.
    pub async fn watch(self: Arc<Self>) {
        while !self.identities.is_empty() {
            sleep(CHECK_INTERVAL).await;
            let this = self.clone();
            // On a blocking thread: a file system may hang, and must block nothing else.
            if tokio::task::spawn_blocking(move || this.identities.check_files()).await.is_err() {
                tracing::error!("outbound TLS: the check of the certificates' files panicked");
            }
        }
    }

    /// Writes the metrics of certificates, if there are any.
    pub fn expose(&self, to: &mut Exposition) {
        if !self.identities.is_empty() {
            self.identities.expose(to);
        }
    }

    pub(super) fn places(&self) -> &Arc<Places> {
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
