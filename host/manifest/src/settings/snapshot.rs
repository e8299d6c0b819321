use super::{Name, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The settings of one component at one moment. An instance keeps the snapshot that it was made with, so that it
/// never sees half of a change; whoever swaps a newer one in retires the instances of older ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    values: BTreeMap<Name, Value>,
}

impl Snapshot {
    /// These settings.
    #[must_use]
    pub fn new(values: BTreeMap<Name, Value>) -> Self {
        Self { values }
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// All keys with their values, in the order of the keys.
    #[must_use]
    pub fn pairs(&self) -> Vec<(String, Arc<str>)> {
        self.values.iter().map(|(key, value)| (key.to_string(), Arc::clone(value.expose()))).collect()
    }
}
