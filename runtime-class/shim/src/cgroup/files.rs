//! Readers for the formats of cgroup files (`cgroup-v2.rst`, "Format"). If the kernel or a controller lacks a file or a
//! key, its value reads as 0.

use std::{collections::HashMap, fs, path::Path, str::FromStr};

/// "Unlimited" in containerd's messages.
pub(super) const UNLIMITED: u64 = u64::MAX;

/// Reads a file with one number or `max`.
pub(super) fn number(directory: &Path, file: &str) -> u64 {
    fs::read_to_string(directory.join(file)).map_or(0, |text| value(text.trim()))
}

fn value(text: &str) -> u64 {
    if text == "max" { UNLIMITED } else { text.parse().unwrap_or(0) }
}

/// A flat keyed file: each line holds a key and a number.
#[derive(Default)]
pub(super) struct FlatKeyed(HashMap<String, u64>);

impl FlatKeyed {
    pub(super) fn read(directory: &Path, file: &str) -> Self {
        Self::read_existing(directory, file).unwrap_or_default()
    }

    /// As [`Self::read`]; `None` if the file cannot be read, such as after the cgroup's removal.
    pub(super) fn read_existing(directory: &Path, file: &str) -> Option<Self> {
        let text = fs::read_to_string(directory.join(file)).ok()?;
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Some(Self(pairs.map(|(key, text)| (key.to_owned(), value(text.trim()))).collect()))
    }

    pub(super) fn get(&self, key: &str) -> u64 {
        self.0.get(key).copied().unwrap_or(0)
    }
}

/// Parses space-separated numbers. Words that are no numbers are left out.
pub(super) fn numbers<T: FromStr>(text: &str) -> Vec<T> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}
