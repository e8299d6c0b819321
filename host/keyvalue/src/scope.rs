//! Who shares the keys of the default store.

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;

use super::store::{Answer, KeyPage, Snapshot, Store, Swap};

/// Who shares the keys of the default store.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DefaultScope {
    /// All components of the application that are granted the store, as in Spin.
    #[default]
    Application,
    /// Nobody: each component has keys of its own.
    Component,
}

impl fmt::Display for DefaultScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Application => "application",
            Self::Component => "component",
        })
    }
}

impl FromStr for DefaultScope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "application" => Ok(Self::Application),
            "component" => Ok(Self::Component),
            _ => Err(format!("{text:?} is no scope: write `application` or `component`")),
        }
    }
}

/// One component's part of a store: its keys have a prefix that the component does not see.
pub(super) struct ScopedStore {
    store: Arc<dyn Store>,
    prefix: Box<str>,
}

impl ScopedStore {
    /// The part of `component`. The length in the prefix keeps two components apart whose IDs begin alike.
    pub(super) fn new(store: Arc<dyn Store>, component: &str) -> Self {
        Self { store, prefix: format!("{}:{component}:", component.len()).into() }
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

impl Store for ScopedStore {
    fn is_local(&self) -> bool {
        self.store.is_local()
    }

    fn get(&self, key: &str) -> Answer<Option<Bytes>> {
        self.store.get(&self.key(key))
    }

    fn set(&self, key: &str, value: Bytes) -> Answer<()> {
        self.store.set(&self.key(key), value)
    }

    fn delete(&self, key: &str) -> Answer<()> {
        self.store.delete(&self.key(key))
    }

    fn exists(&self, key: &str) -> Answer<bool> {
        self.store.exists(&self.key(key))
    }

    fn list_keys(&self, cursor: Option<&str>) -> Answer<KeyPage> {
        self.store.list_keys_of(&self.prefix, cursor)
    }

    fn increment(&self, key: &str, delta: i64) -> Answer<i64> {
        self.store.increment(&self.key(key), delta)
    }

    fn snapshot(&self, key: &str) -> Answer<Snapshot> {
        self.store.snapshot(&self.key(key))
    }

    fn swap(&self, key: &str, seen: &Snapshot, value: Bytes) -> Answer<Swap> {
        self.store.swap(&self.key(key), seen, value)
    }

    fn system(&self) -> Option<&'static str> {
        self.store.system()
    }
}

#[cfg(test)]
mod tests {
    use wasi_http_host_core::DEFAULT_STORE;

    use super::*;
    use crate::{MemoryStore, PAGE_KEYS, Stores};

    fn ready<R>(answer: Answer<R>) -> R {
        match answer {
            Answer::Ready(result) => result.unwrap(),
            Answer::Pending(_) => panic!("a store in memory answers at once"),
        }
    }

    fn stores(scope: DefaultScope) -> Stores {
        Stores::default().scoped(scope).with(DEFAULT_STORE, Arc::new(MemoryStore::new(1 << 20)))
    }

    #[test]
    fn components_share_the_default_store_unless_each_has_its_own_keys() {
        for (scope, shared) in [(DefaultScope::Application, true), (DefaultScope::Component, false)] {
            let stores = stores(scope);
            let [a, b] = ["a", "b"].map(|component| stores.grant(component, &[DEFAULT_STORE]).unwrap());
            let [a, b] = [&a, &b].map(|access| access.store(access.open(DEFAULT_STORE).unwrap()).unwrap());
            ready(a.set("k", Bytes::from_static(b"of a")));
            ready(a.increment("n", 2));
            assert_eq!(ready(b.get("k")).is_some(), shared);
            assert_eq!(ready(b.exists("k")), shared);
            assert_eq!(ready(b.increment("n", 1)), if shared { 3 } else { 1 });
            let seen = ready(b.snapshot("k"));
            assert_eq!(ready(b.swap("k", &seen, Bytes::from_static(b"of b"))), Swap::Done);
            assert_eq!(ready(a.get("k")).unwrap(), if shared { "of b" } else { "of a" });
            ready(b.delete("k"));
            assert_eq!(ready(a.exists("k")), !shared);
        }
    }

    #[test]
    fn a_component_lists_its_own_keys_without_their_prefix() {
        let stores = stores(DefaultScope::Component);
        let keys = |component: &str| {
            let access = stores.grant(component, &[DEFAULT_STORE]).unwrap();
            let store = access.store(0).unwrap();
            let (mut keys, mut cursor) = (Vec::new(), None);
            loop {
                let page = ready(store.list_keys(cursor.as_deref()));
                keys.extend(page.keys);
                cursor = page.cursor;
                match &cursor {
                    None => return keys,
                    Some(cursor) => assert!(cursor.starts_with("key"), "the prefix shows: {cursor}"),
                }
            }
        };
        // The second ID and key together are the first ones.
        for (component, count) in [("a", PAGE_KEYS + 5), ("a:key", 3), ("ab", 1)] {
            let access = stores.grant(component, &[DEFAULT_STORE]).unwrap();
            for n in 0..count {
                ready(access.store(0).unwrap().set(&format!("key{n:05}"), Bytes::new()));
            }
        }
        assert_eq!(keys("a").len(), PAGE_KEYS + 5);
        assert_eq!(keys("a:key"), ["key00000", "key00001", "key00002"]);
        assert_eq!(keys("ab"), ["key00000"]);
        assert!(keys("b").is_empty());
    }
}
