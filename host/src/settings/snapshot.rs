use super::{Name, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The settings of one component at one moment. An instance keeps the snapshot that it was made with, so that it
/// never sees half of a change; whoever swaps a newer one in retires the instances of older generations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    generation: u64,
    values: BTreeMap<Name, Value>,
}

impl Snapshot {
    /// The settings of `generation`, which the caller counts up with every change.
    #[must_use]
    pub fn new(generation: u64, values: BTreeMap<Name, Value>) -> Self {
        Self { generation, values }
    }

    /// Which in the sequence of changes.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// All pairs, as a guest is given them.
    pub(super) fn pairs(&self) -> Vec<(String, Arc<str>)> {
        self.values.iter().map(|(key, value)| (key.to_string(), Arc::clone(value.expose()))).collect()
    }
}
