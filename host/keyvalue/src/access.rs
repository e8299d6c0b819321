use super::backend::Backend;
use super::{Error, MemoryStore, RemoteStore, Store};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::runtime::Handle;
use wasi_http_host_core::DEFAULT_STORE;

/// All stores of this process, by name. The host's configuration decides what is in it.
#[derive(Clone)]
pub struct Stores(BTreeMap<Box<str>, Backend>);

impl Stores {
    /// The [`DEFAULT_STORE`] alone.
    #[must_use]
    pub fn new(memory: Arc<MemoryStore>) -> Self {
        Self(BTreeMap::from([(DEFAULT_STORE.into(), Backend::Local(memory))]))
    }

    /// Adds a store, or puts another in the place of the one of that name.
    #[must_use]
    pub fn with(mut self, name: &str, store: Arc<dyn Store>) -> Self {
        self.0.insert(name.into(), Backend::Local(store));
        self
    }

    /// The same with a store that has to wait for others.
    #[must_use]
    pub fn with_remote(mut self, name: &str, store: Arc<dyn RemoteStore>) -> Self {
        self.0.insert(name.into(), Backend::Remote(store));
        self
    }

    /// The same stores for instances on the thread of `runtime`, where a remote one has connections of its own.
    #[must_use]
    pub fn on(&self, runtime: &Handle) -> Self {
        Self(self.0.iter().map(|(name, backend)| (name.clone(), backend.on(runtime))).collect())
    }

    /// Access to the named stores and to no others.
    ///
    /// # Errors
    /// When the host has no store of one of the names.
    pub fn grant<N: AsRef<str>>(&self, names: &[N]) -> Result<Access, UnknownStore> {
        let grants = names.iter().map(AsRef::as_ref).map(|name| match self.0.get_key_value(name) {
            Some((name, backend)) => Ok(Grant { name: name.clone(), backend: backend.clone() }),
            None => Err(UnknownStore { name: name.into(), known: self.0.keys().cloned().collect() }),
        });
        Ok(Access { grants: grants.collect::<Result<_, _>>()? })
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A manifest grants a store that the host does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key_value_stores: this host has no store {name:?} (it has: {})", known.join(", "))]
pub struct UnknownStore {
    /// As the manifest has it.
    pub name: Box<str>,
    /// The names that would have been right.
    pub known: Vec<Box<str>>,
}

/// The stores that one component may open. Cheap to clone.
#[derive(Clone)]
pub struct Access {
    grants: Arc<[Grant]>,
}

struct Grant {
    name: Box<str>,
    backend: Backend,
}

impl Access {
    /// The index by which [`Access::backend`] finds the store again.
    ///
    /// # Errors
    /// When the component is granted no store of this name.
    pub fn open(&self, name: &str) -> Result<u32, Error> {
        let index = self.grants.iter().position(|grant| *grant.name == *name);
        index.and_then(|index| u32::try_from(index).ok()).ok_or(Error::AccessDenied)
    }

    /// The store that [`Access::open`] gave this index.
    #[must_use]
    pub fn backend(&self, index: u32) -> Option<&Backend> {
        self.grants.get(usize::try_from(index).ok()?).map(|grant| &grant.backend)
    }

    /// A store's name, and whether it is remote.
    #[must_use]
    pub fn describe(&self, index: u32) -> Option<(&str, bool)> {
        let grant = self.grants.get(usize::try_from(index).ok()?)?;
        Some((&grant.name, matches!(grant.backend, Backend::Remote(_))))
    }

    /// Whether one of the stores has to wait for others, so that the asynchronous link is needed.
    #[must_use]
    pub fn has_remote(&self) -> bool {
        self.grants.iter().any(|grant| matches!(grant.backend, Backend::Remote(_)))
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.grants.iter().map(|grant| &grant.name)).finish()
    }
}
