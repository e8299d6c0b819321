use super::super::{Answer, Error, KeyPage, RemoteStore, Snapshot, Swap};
use super::link::Link;
use super::{RedisStore, commands};
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::runtime::Handle;

impl RedisStore {
    /// Says something that changes `keys`. Whatever comes of it, none of our threads answers any more with what it
    /// remembered of them.
    async fn write<'a, R>(
        &self,
        keys: impl Iterator<Item = &'a str> + Clone,
        command: commands::Command<R>,
    ) -> Result<R, Error> {
        let answer = self.link()?.call(command).await;
        self.shared.stats.caches.forget(&keys);
        answer
    }
}

impl RemoteStore for RedisStore {
    fn on(&self, runtime: &Handle) -> Arc<dyn RemoteStore> {
        let link = Some(Link::start(self.shared.clone(), runtime));
        Arc::new(Self { shared: self.shared.clone(), link })
    }

    fn known(&self, key: &str) -> Option<Option<Bytes>> {
        self.link.as_ref()?.cache()?.get(key)
    }

    fn known_many(&self, keys: &[String]) -> Option<Vec<(String, Option<Bytes>)>> {
        self.link.as_ref()?.cache()?.get_many(keys)
    }

    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Bytes>> {
        Box::pin(async move {
            let link = self.link()?;
            let read = link.begin(key);
            let value = link.call(commands::get(self.key(key))).await?;
            if let Some(read) = read {
                read.end(value.as_ref());
            }
            Ok(value)
        })
    }

    fn set<'a>(&'a self, key: &'a str, value: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            let set = commands::set(self.key(key), &value, self.time_to_live());
            self.write(std::iter::once(key), set).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.write(std::iter::once(key), commands::delete(vec![self.key(key)])).await })
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
            let increment = commands::increment(self.key(key), delta, self.time_to_live());
            self.write(std::iter::once(key), increment).await
        })
    }

    fn snapshot<'a>(&'a self, key: &'a str) -> Answer<'a, Snapshot> {
        // Never from memory: what is there now is what the swap compares with.
        Box::pin(async move { self.link()?.call(commands::snapshot(self.key(key))).await })
    }

    fn swap<'a>(&'a self, key: &'a str, seen: &'a Snapshot, value: Bytes) -> Answer<'a, Swap> {
        Box::pin(async move {
            let swap = commands::swap(self.key(key), seen, &value, self.time_to_live());
            self.write(std::iter::once(key), swap).await
        })
    }

    fn get_many(&self, keys: Vec<String>) -> Answer<'_, Vec<(String, Option<Bytes>)>> {
        Box::pin(async move {
            let link = self.link()?;
            let mut values: HashMap<&str, Option<Bytes>> = HashMap::with_capacity(keys.len());
            // Each key is asked for once, however often it is named.
            let (mut unknown, mut reads) = (Vec::new(), Vec::new());
            for key in &keys {
                if values.contains_key(&**key) {
                    continue;
                }
                let known = link.cache().and_then(|cache| cache.get(key));
                if known.is_none() {
                    unknown.push(&**key);
                    reads.push(link.begin(key));
                }
                values.insert(key, known.flatten());
            }
            if !unknown.is_empty() {
                let named = unknown.iter().map(|key| self.key(key)).collect();
                let answers = link.call(commands::get_many(named)).await?;
                for ((key, read), value) in unknown.into_iter().zip(reads).zip(answers) {
                    if let Some(read) = read {
                        read.end(value.as_ref());
                    }
                    values.insert(key, value);
                }
            }
            let values: Vec<_> = keys.iter().map(|key| values.get(&**key).cloned().flatten()).collect();
            Ok(keys.into_iter().zip(values).collect())
        })
    }

    fn set_many(&self, pairs: Vec<(String, Bytes)>) -> Answer<'_, ()> {
        Box::pin(async move {
            if pairs.is_empty() {
                return Ok(());
            }
            let named = pairs.iter().map(|(key, value)| (self.key(key), value));
            let set = commands::set_many(named, self.time_to_live());
            self.write(pairs.iter().map(|(key, _)| &**key), set).await
        })
    }

    fn delete_many(&self, keys: Vec<String>) -> Answer<'_, ()> {
        Box::pin(async move {
            if keys.is_empty() {
                return Ok(());
            }
            let delete = commands::delete(keys.iter().map(|key| self.key(key)).collect());
            self.write(keys.iter().map(|key| &**key), delete).await
        })
    }
}
