//! The forms that a cgroup's files have. What is missing, since the kernel or a controller lacks it, reads as 0.

use std::{collections::HashMap, fs, path::Path, str::FromStr};

/// What "unlimited" is in containerd's messages.
pub(super) const UNLIMITED: u64 = u64::MAX;

/// A file with one number, or `max`.
pub(super) fn number(directory: &Path, file: &str) -> u64 {
    fs::read_to_string(directory.join(file)).map_or(0, |text| value(text.trim()))
}

fn value(text: &str) -> u64 {
    if text == "max" { UNLIMITED } else { text.parse().unwrap_or(0) }
}

/// A file with a key and a number a line.
pub(super) struct Keyed(HashMap<String, u64>);

impl Keyed {
    /// Reads it.
    pub(super) fn read(directory: &Path, file: &str) -> Self {
        let text = fs::read_to_string(directory.join(file)).unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Self(pairs.map(|(key, text)| (key.to_owned(), value(text.trim()))).collect())
    }

    /// The number of `key`.
    pub(super) fn get(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or(0)
    }
}

/// A line of words: numbers, those that are none left out.
pub(super) fn numbers<T: FromStr>(text: &str) -> Vec<T> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
