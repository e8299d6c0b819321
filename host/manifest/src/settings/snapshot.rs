//! The settings of one component at one moment.

use super::{Name, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The settings of one component at one moment. An instance keeps its snapshot for its whole life, so that a guest
/// never sees half of a change. When the settings change, a reload replaces the instances that have an older
/// snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    values: BTreeMap<Name, Value>,
}

impl Snapshot {
    /// A snapshot of `values`.
    #[must_use]
    pub fn new(values: BTreeMap<Name, Value>) -> Self {
        Self { values }
    }

    /// The value of `key`. `None` if the component has no such setting.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// All keys with their values, secrets included, in the order of the keys.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, Arc<str>)> {
        self.values.iter().map(|(key, value)| (key.to_string(), Arc::clone(value.expose()))).collect()
    }
}
