//! Measured figures: printed, and written to `target/cluster/figures.json`. No test asserts one.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::{fail, output};

/// Records a figure under `group` and `name`, with its unit in the name (`first_ready_ms`).
///
/// # Panics
/// If the file cannot be written.
pub fn figure(group: &str, name: &str, value: impl Into<Value>) {
    /// Held while the file is read and written.
    static FILE: Mutex<()> = Mutex::new(());
    let value = value.into();
    let _file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    println!("figure: {group}: {name} = {value}");
    let path = output().join("figures.json");
    let mut all: BTreeMap<String, BTreeMap<String, Value>> =
        fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    all.entry(group.to_owned()).or_default().insert(name.to_owned(), value);
    let all = serde_json::to_string_pretty(&all).unwrap_or_else(|error| fail(error));
    fs::write(&path, all).unwrap_or_else(|error| fail(format!("{}: {error}", path.display())));
}

/// A duration in milliseconds.
#[must_use]
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A quantile of `values` (0.5 is the median); `None` if there are no values.
#[must_use]
pub fn percentile<T: Copy + PartialOrd>(values: &[T], share: f64) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index, rounded on purpose"
    )]
    let index = (share.clamp(0.0, 1.0) * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(index).copied()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_of_few_and_of_none() {
        assert_eq!(percentile(&[3, 1, 2], 0.5), Some(2));
        assert_eq!(percentile(&[3, 1, 2], 1.0), Some(3));
        assert_eq!(percentile::<u8>(&[], 0.5), None);
    }
}
