//! A store in Redis: one connection a thread, limits of time on everything, atomics by the server.
//!
//! ```text
//! RedisStore ─▶ Link::connection (one that is up, or an error at once) ─▶ Redis
//!                 ▲ Up, Connecting, Down(why)
//!               keeper: connect ─▶ drive until it breaks or a call reports it ─▶ again, with growing pauses
//! ```
//!
//! A store that fails is the guest's to cope with: it gets an error, soon, and metrics show it. Readiness does not
//! depend on it. Each write renews the key's time to live, so that what a process left behind when it died goes.

mod address;
mod commands;
mod link;
mod stats;

pub use address::{InvalidAddress, RedisAddress};
pub use stats::{Failure, RemoteSnapshot, RemoteStats};

use super::{Answer, Error, KeyPage, RemoteStore, Snapshot, Swap};
use crate::outbound::Resolve;
use bytes::Bytes;
use link::Link;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

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
    resolver: Arc<dyn Resolve>,
    stats: Arc<RemoteStats>,
}

/// A store in Redis, as seen from one thread. Connects once [`RemoteStore::on`] has said which.
pub struct RedisStore {
    shared: Arc<Shared>,
    link: Option<Link>,
}

impl RedisStore {
    /// The store that a component knows as `name`.
    #[must_use]
    pub fn new(
        name: &str,
        address: RedisAddress,
        settings: RedisSettings,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        let stats = Arc::new(RemoteStats::new(name));
        Self {
            shared: Arc::new(Shared { name: name.to_owned(), address, settings, resolver, stats }),
            link: None,
        }
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

impl RemoteStore for RedisStore {
    fn on(&self, runtime: &Handle) -> Arc<dyn RemoteStore> {
        let link = Some(Link::start(self.shared.clone(), runtime));
        Arc::new(Self { shared: self.shared.clone(), link })
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(async move { self.link()?.call(commands::get(self.key(key))).await })
    }

    fn set<'a>(&'a self, key: &'a str, value: Bytes) -> Answer<'a, ()> {
        Box::pin(
            async move { self.link()?.call(commands::set(self.key(key), &value, self.time_to_live())).await },
        )
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.link()?.call(commands::delete(vec![self.key(key)])).await })
    }

    fn exists<'a>(&'a self, key: &'a str) -> Answer<'a, bool> {
        Box::pin(async move { self.link()?.call(commands::exists(self.key(key))).await })
    }

    fn list_keys<'a>(&'a self, cursor: Option<&'a str>) -> Answer<'a, KeyPage> {
        Box::pin(async move {
            let scan = commands::scan(&self.shared.settings.prefix, cursor)?;
            self.link()?.call(scan).await
        })
    }

    fn increment<'a>(&'a self, key: &'a str, delta: i64) -> Answer<'a, i64> {
        Box::pin(async move {
            let (link, increment) =
                (self.link()?, commands::increment(self.key(key), delta, self.time_to_live()));
            link.call(increment).await
        })
    }

    fn snapshot<'a>(&'a self, key: &'a str) -> Answer<'a, Snapshot> {
        Box::pin(async move { Ok(Snapshot { version: 0, value: self.get(key).await? }) })
    }

    fn swap<'a>(&'a self, key: &'a str, seen: &'a Snapshot, value: Bytes) -> Answer<'a, Swap> {
        Box::pin(async move {
            let swap = commands::swap(self.key(key), seen.value.as_deref(), &value, self.time_to_live());
            self.link()?.call(swap).await
        })
    }

    fn get_many(&self, keys: Vec<String>) -> Answer<'_, Vec<(String, Option<Bytes>)>> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            let named = keys.iter().map(|key| self.key(key)).collect();
            let values = self.link()?.call(commands::get_many(named)).await?;
            Ok(keys.into_iter().zip(values).collect())
        })
    }

    fn set_many(&self, pairs: Vec<(String, Bytes)>) -> Answer<'_, ()> {
        Box::pin(async move {
            if pairs.is_empty() {
                return Ok(());
            }
            let named = pairs.iter().map(|(key, value)| (self.key(key), value));
            self.link()?.call(commands::set_many(named, self.time_to_live())).await
        })
    }

    fn delete_many(&self, keys: Vec<String>) -> Answer<'_, ()> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(());
            }
            self.link()?.call(commands::delete(keys.iter().map(|key| self.key(key)).collect())).await
        })
    }
}
