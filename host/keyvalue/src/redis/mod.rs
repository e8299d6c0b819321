//! A store in Redis: one connection a thread, limits of time and size on everything, atomics by the server.
//!
//! ```text
//! RedisStore ─▶ Cache (what this thread has read; the server says what changes) ─▶ an answer at once
//!      │          ▲ live while the connection is up, emptied when it is not
//!      └──────▶ Link::connection (one that is up, or an error at once) ─▶ Guard (bounds answers) ─▶ Redis
//!                 ▲ Up, Connecting, Down(why)
//!               keeper: connect ─▶ drive until it breaks or a call reports it ─▶ again, with growing pauses
//! ```
//!
//! A store that fails is the guest's to cope with: it gets an error, soon, and metrics show it. Readiness does not
//! depend on it. Each write renews the key's time to live, so that what a process left behind when it died goes.

mod address;
mod cache;
mod commands;
mod connect;
mod guard;
mod keeper;
mod link;
mod stats;
mod store;
mod tls;

pub use address::{InvalidAddress, RedisAddress};
pub use cache::CacheTotals;
pub use stats::{Failure, RemoteSnapshot, RemoteStats};
pub use tls::ClientCertificate;

use super::Error;
use link::Link;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use tls::Security;
use wasi_http_host_egress::{Resolve, RootsError};

/// The bounds of a store in Redis.
#[derive(Debug, Clone)]
pub struct RedisSettings {
    /// What all keys begin with there.
    pub prefix: String,
    /// How long a key is kept after it was last written; at least a millisecond.
    pub time_to_live: Duration,
    /// For a connection: look-up, TCP and authentication.
    pub connect: Duration,
    /// For the answer to a command.
    pub answer: Duration,
    /// Commands of one thread that wait for their answers at once.
    pub max_in_flight: usize,
    /// By what Redis knows us.
    pub password: Password,
    /// Certificates (PEM) to trust beside the system's, for TLS.
    pub ca_file: Option<PathBuf>,
    /// For servers that ask for one, for TLS.
    pub client_certificate: Option<ClientCertificate>,
    /// What each thread may remember of a store, in bytes; 0 for nothing.
    pub cache_bytes: usize,
    /// How long, though the server says nothing of a change.
    pub cache_max_age: Duration,
}

/// Where the password comes from.
#[derive(Clone, Default)]
pub enum Password {
    /// Redis wants none.
    #[default]
    None,
    /// It is this.
    Text(String),
    /// It is the text of this file, without the line's end; read again for each connection.
    File(PathBuf),
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Text(_) => f.write_str("<secret>"),
            Self::File(path) => path.fmt(f),
        }
    }
}

/// What the connections of all threads have in common.
struct Shared {
    name: String,
    address: RedisAddress,
    settings: RedisSettings,
    /// None for a connection in the clear.
    security: Option<Security>,
    resolver: Arc<dyn Resolve>,
    stats: Arc<RemoteStats>,
    /// It has been logged that the server does not say what changes.
    told_untracked: AtomicBool,
}

/// A store in Redis, as seen from one thread. Connects once [`RemoteStore::on`] has said which.
pub struct RedisStore {
    shared: Arc<Shared>,
    link: Option<Link>,
}

impl RedisStore {
    /// The store that a component knows as `name`.
    ///
    /// # Errors
    /// When the CA file of a store with TLS cannot be used.
    pub fn new(
        name: &str,
        address: RedisAddress,
        settings: RedisSettings,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, RootsError> {
        let stats = Arc::new(RemoteStats::new(name));
        let security = address.tls.then(|| Security::new(&settings)).transpose()?;
        Ok(Self {
            shared: Arc::new(Shared {
                name: name.to_owned(),
                address,
                settings,
                security,
                resolver,
                stats,
                told_untracked: AtomicBool::new(false),
            }),
            link: None,
        })
    }

    /// What is counted of it, on all threads.
    #[must_use]
    pub fn stats(&self) -> Arc<RemoteStats> {
        self.shared.stats.clone()
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.shared.settings.prefix)
    }

    /// Milliseconds, as Redis takes them.
    fn time_to_live(&self) -> u64 {
        u64::try_from(self.shared.settings.time_to_live.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn link(&self) -> Result<&Link, Error> {
        self.link
            .as_ref()
            .ok_or_else(|| Error::other(format_args!("store {:?} has no connection here", self.shared.name)))
    }
}
