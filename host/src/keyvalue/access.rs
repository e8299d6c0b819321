use super::{Error, MemoryStore, Store};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The store that every host has: its own process's memory, never shared with another process.
pub const DEFAULT_STORE: &str = "default";

/// All stores of this process, by name. The host's configuration decides what is in it.
#[derive(Clone)]
pub struct Stores(BTreeMap<Box<str>, Arc<dyn Store>>);

impl Stores {
    /// The [`DEFAULT_STORE`] alone.
    #[must_use]
    pub fn new(memory: Arc<MemoryStore>) -> Self {
        Self(BTreeMap::from([(DEFAULT_STORE.into(), memory as Arc<dyn Store>)]))
    }

    /// Adds a store, or puts another in the place of the one of that name.
    #[must_use]
    pub fn with(mut self, name: &str, store: Arc<dyn Store>) -> Self {
        self.0.insert(name.into(), store);
        self
    }

    /// Access to the named stores and to no others.
    ///
    /// # Errors
    /// When the host has no store of one of the names.
    pub fn grant<N: AsRef<str>>(&self, names: &[N]) -> Result<Access, UnknownStore> {
        let grants = names.iter().map(AsRef::as_ref).map(|name| match self.0.get_key_value(name) {
            Some((name, store)) => Ok(Grant { name: name.clone(), store: Arc::clone(store) }),
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
    store: Arc<dyn Store>,
}

impl Access {
    /// The index by which [`Access::store`] finds the store again.
    pub(super) fn open(&self, name: &str) -> Result<u32, Error> {
        let index = self.grants.iter().position(|grant| *grant.name == *name);
        index.and_then(|index| u32::try_from(index).ok()).ok_or(Error::AccessDenied)
    }

    pub(super) fn store(&self, index: u32) -> Option<&dyn Store> {
        self.grants.get(usize::try_from(index).ok()?).map(|grant| &*grant.store)
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.grants.iter().map(|grant| &grant.name)).finish()
    }
}
