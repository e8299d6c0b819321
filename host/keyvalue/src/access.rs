//! Which stores there are, and which of them a component may open.

use std::{collections::BTreeMap, fmt, sync::Arc};

use tokio::runtime::Handle;
use wasi_http_host_core::{DEFAULT_STORE, Exposition};

use super::{
    error::Error,
    metrics::Samples,
    scope::{DefaultScope, ScopedStore},
    store::Store,
};

/// All stores of this process, by name.
#[derive(Clone, Default)]
pub struct Stores {
    stores: BTreeMap<Box<str>, Arc<dyn Store>>,
    scope: DefaultScope,
}

impl Stores {
    /// Adds a store. Replaces the store that has this name.
    #[must_use]
    pub fn with(mut self, name: &str, store: Arc<dyn Store>) -> Self {
        self.stores.insert(name.into(), store);
        self
    }

    /// Sets who shares the keys of the default store.
    #[must_use]
    pub fn scoped(self, scope: DefaultScope) -> Self {
        Self { scope, ..self }
    }

    /// The same stores for instances on the thread of `runtime`: see [`Store::on`].
    #[must_use]
    pub fn on(&self, runtime: &Handle) -> Self {
        let here = |store: &Arc<dyn Store>| store.on(runtime).unwrap_or_else(|| store.clone());
        let stores = self.stores.iter().map(|(name, store)| (name.clone(), here(store))).collect();
        Self { stores, scope: self.scope }
    }

    /// Access of a component to the named stores and to no others.
    ///
    /// # Errors
    /// When the host has no store of one of the names.
    pub fn grant<N: AsRef<str>>(&self, component: &str, names: &[N]) -> Result<Access, UnknownStore> {
        let grants = names.iter().map(AsRef::as_ref).map(|name| match self.stores.get(name) {
            Some(store) if name == DEFAULT_STORE && self.scope == DefaultScope::Component => {
                let store = Arc::new(ScopedStore::new(store.clone(), component));
                Ok(Grant { name: name.into(), store })
            }
            Some(store) => Ok(Grant { name: name.into(), store: store.clone() }),
            None => Err(UnknownStore { name: name.into(), known: self.stores.keys().cloned().collect() }),
        });
        Ok(Access { grants: grants.collect::<Result<_, _>>()? })
    }

    /// Writes the metrics of each store.
    pub fn expose(&self, to: &mut Exposition) {
        let mut samples = Samples::default();
        self.stores.iter().for_each(|(name, store)| store.measure(name, &mut samples));
        samples.expose(to);
    }

    /// Closes each store: see [`Store::close`].
    pub fn close(&self) {
        self.stores.values().for_each(|store| store.close());
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.stores.keys()).finish()
    }
}

/// A manifest grants a store that the host does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key_value_stores: this host has no store {name:?} (it has: {})", known.join(", "))]
pub struct UnknownStore {
    /// The name in the manifest.
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
    store: Arc<dyn Store>,
}

impl Access {
    /// The index by which [`Access::store`] finds the store again.
    ///
    /// # Errors
    /// When the component is granted no store of this name.
    pub fn open(&self, name: &str) -> Result<u32, Error> {
        let index = self.grants.iter().position(|grant| *grant.name == *name);
        index.and_then(|index| u32::try_from(index).ok()).ok_or(Error::AccessDenied)
    }

    /// The store that [`Access::open`] gave this index.
    #[must_use]
    pub fn store(&self, index: u32) -> Option<&dyn Store> {
        Some(&*self.grant(index)?.store)
    }

    /// The name of that store.
    #[must_use]
    pub fn name(&self, index: u32) -> Option<&str> {
        Some(&self.grant(index)?.name)
    }

    /// Whether all stores are local: see [`Store::is_local`].
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.grants.iter().all(|grant| grant.store.is_local())
    }

    fn grant(&self, index: u32) -> Option<&Grant> {
        self.grants.get(usize::try_from(index).ok()?)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.grants.iter().map(|grant| &grant.name)).finish()
    }
}
