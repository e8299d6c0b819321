//! The store: each operation as a command, and the cache in front of it.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
};

use bytes::Bytes;
use tokio::runtime::Handle;
use wasi_http_host_egress::{Resolve, RootsError};

use super::{
    address::RedisAddress,
    client::ThreadClient,
    commands::{self, Command},
    config::RedisConfig,
    shared::Shared,
    stats::RedisStats,
    tls::Security,
};
use crate::{Answer, Error, KeyPage, Samples, Snapshot, Store, Swap};

/// A store in Redis. Only the store that [`Store::on`] returns has a connection.
pub struct RedisStore {
    shared: Arc<Shared>,
    client: Option<Arc<ThreadClient>>,
}

impl RedisStore {
    /// The store that a component opens as `name`. `threads` share the bytes for the cache.
    ///
    /// # Errors
    /// When the address asks for TLS and the CA file cannot be used.
    pub fn new(
        name: &str,
        address: RedisAddress,
        config: &RedisConfig,
        threads: usize,
        resolver: Arc<dyn Resolve>,
    ) -> Result<Self, RootsError> {
        let security = address.tls.then(|| Security::new(config)).transpose()?;
        Ok(Self {
            shared: Arc::new(Shared {
                name: name.to_owned(),
                address,
                thread_cache_bytes: config.cache_bytes.as_usize() / threads.max(1),
                config: config.clone(),
                security,
                resolver,
                stats: RedisStats::default(),
                untracked_logged: AtomicBool::new(false),
            }),
            client: None,
        })
    }

    /// The name of `key` in Redis.
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.shared.config.prefix)
    }

    fn client(&self) -> Result<Arc<ThreadClient>, Error> {
        self.client.clone().ok_or_else(|| {
            Error::other(format_args!("store {:?} has no connection on this thread", self.shared.name))
        })
    }

    /// Sends a command that changes nothing.
    fn read<R: Send + 'static>(&self, command: Command<R>) -> Answer<R> {
        match self.client() {
            Ok(client) => Answer::pending(async move { client.call(command).await }),
            Err(error) => error.into(),
        }
    }

    /// Sends a command that changes `keys`. When it has ended, successful or not, no thread of this process answers with the
    /// values that it has cached before.
    fn write<R: Send + 'static>(
        &self,
        keys: impl AsRef<[String]> + Send + 'static,
        command: Command<R>,
    ) -> Answer<R> {
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return error.into(),
        };
        let shared = self.shared.clone();
        Answer::pending(async move {
            let answer = client.call(command).await;
            shared.stats.caches.forget(&keys.as_ref().iter().map(String::as_str));
            answer
        })
    }

    fn cached(&self, key: &str) -> Option<Option<Bytes>> {
        self.client.as_ref()?.cache()?.get(key)
    }
}

impl Store for RedisStore {
    fn is_local(&self) -> bool {
        false
    }

    fn on(&self, runtime: &Handle) -> Option<Arc<dyn Store>> {
        let client = Some(Arc::new(ThreadClient::start(self.shared.clone(), runtime)));
        Some(Arc::new(Self { shared: self.shared.clone(), client }))
    }

    fn get(&self, key: &str) -> Answer<Option<Bytes>> {
        if let Some(known) = self.cached(key) {
            return Answer::Ready(Ok(known));
        }
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return error.into(),
        };
        let pending = client.begin_read(key);
        let get = commands::get(self.key(key));
        Answer::pending(async move {
            let value = client.call(get).await?;
            if let Some(pending) = pending {
                pending.end(value.as_ref());
            }
            Ok(value)
        })
    }

    fn set(&self, key: &str, value: Bytes) -> Answer<()> {
        let set = commands::set(self.key(key), &value, self.shared.config.ttl_ms());
        self.write([key.to_owned()], set)
    }

    fn delete(&self, key: &str) -> Answer<()> {
        self.write([key.to_owned()], commands::delete(vec![self.key(key)]))
    }

    fn exists(&self, key: &str) -> Answer<bool> {
        match self.cached(key) {
            Some(known) => Answer::Ready(Ok(known.is_some())),
            None => self.read(commands::exists(self.key(key))),
        }
    }

    fn list_keys(&self, cursor: Option<&str>) -> Answer<KeyPage> {
        match commands::scan(&self.shared.config.prefix, cursor) {
            Ok(scan) => self.read(scan),
            Err(error) => error.into(),
        }
    }

    fn increment(&self, key: &str, delta: i64) -> Answer<i64> {
        let increment = commands::increment(self.key(key), delta, self.shared.config.ttl_ms());
        self.write([key.to_owned()], increment)
    }

    /// Never from the cache: the swap compares with what Redis has now.
    fn snapshot(&self, key: &str) -> Answer<Snapshot> {
        self.read(commands::snapshot(self.key(key)))
    }

    fn swap(&self, key: &str, seen: &Snapshot, value: Bytes) -> Answer<Swap> {
        let swap = commands::swap(self.key(key), seen, &value, self.shared.config.ttl_ms());
        self.write([key.to_owned()], swap)
    }

    fn get_many(&self, keys: Vec<String>) -> Answer<Vec<(String, Option<Bytes>)>> {
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return error.into(),
        };
        if let Some(known) = client.cache().and_then(|cache| cache.get_many(&keys)) {
            return Answer::Ready(Ok(known));
        }
        // Each key is asked for once, however often it is named.
        let mut values: HashMap<String, Option<Bytes>> = HashMap::with_capacity(keys.len());
        let (mut unknown, mut pending) = (Vec::new(), Vec::new());
        for key in &keys {
            if values.contains_key(key) {
                continue;
            }
            let known = client.cache().and_then(|cache| cache.get(key));
            if known.is_none() {
                unknown.push(key.clone());
                pending.push(client.begin_read(key));
            }
            values.insert(key.clone(), known.flatten());
        }
        let get_many = commands::get_many(unknown.iter().map(|key| self.key(key)).collect());
        Answer::pending(async move {
            if !unknown.is_empty() {
                let answers = client.call(get_many).await?;
                for ((key, pending), value) in unknown.into_iter().zip(pending).zip(answers) {
                    if let Some(pending) = pending {
                        pending.end(value.as_ref());
                    }
                    values.insert(key, value);
                }
            }
            let with_value = |key: String| {
                let value = values.get(&key).cloned().flatten();
                (key, value)
            };
            Ok(keys.into_iter().map(with_value).collect())
        })
    }

    fn set_many(&self, pairs: Vec<(String, Bytes)>) -> Answer<()> {
        if pairs.is_empty() {
            return Answer::Ready(Ok(()));
        }
        let named = pairs.iter().map(|(key, value)| (self.key(key), value));
        let set = commands::set_many(named, self.shared.config.ttl_ms());
        self.write(pairs.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), set)
    }

    fn delete_many(&self, keys: Vec<String>) -> Answer<()> {
        if keys.is_empty() {
            return Answer::Ready(Ok(()));
        }
        let delete = commands::delete(keys.iter().map(|key| self.key(key)).collect());
        self.write(keys, delete)
    }

    fn system(&self) -> Option<&'static str> {
        Some("redis")
    }

    fn measure(&self, name: &str, samples: &mut Samples) {
        self.shared.stats.measure(name, samples);
    }
}
