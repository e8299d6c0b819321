//! The list of what is allowed: `layers.toml`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// `layers.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// For each crate of ours, the crates of ours that it may use.
    #[serde(default)]
    pub(crate) crates: BTreeMap<String, BTreeSet<String>>,
    /// For each crate of ours, the crates of ours that its tests may use besides.
    #[serde(default)]
    pub(crate) tests: BTreeMap<String, BTreeSet<String>>,
    /// For each crate of ours, crates that must not be among its dependencies, however deep.
    #[serde(default)]
    pub(crate) never: BTreeMap<String, BTreeSet<String>>,
    /// Uses that may close a cycle between modules.
    #[serde(default, rename = "exception")]
    pub(crate) exceptions: Vec<Exception>,
}

/// A use that may close a cycle between modules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exception {
    /// The crate.
    #[serde(rename = "crate")]
    pub(crate) package: String,
    /// The module that uses the other one, with all that lies in it: `crate::a::b`.
    pub(crate) from: String,
    /// The module that is used: a sibling of `from`, its parent or its child. A parent stands for its own code.
    pub(crate) to: String,
    /// Why this cycle is better than none.
    pub(crate) reason: String,
}
