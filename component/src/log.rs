//! Log lines: one JSON object a line, and a throttle for those that a burst of requests would repeat.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::ports::Level;

/// The least time between two lines with the same label.
const THROTTLE_INTERVAL: Duration = Duration::from_secs(1);

/// A log line: a JSON object of `level`, `message` and those of `fields` that have a value.
#[must_use]
pub fn line(level: Level, message: &str, fields: &[(&str, &str)]) -> String {
    let level = match level {
        Level::Info => "INFO",
        Level::Warn => "WARN",
        Level::Error => "ERROR",
    };
    let members = [("level", level), ("message", message)];
    let members = members.iter().chain(fields).filter(|(_, value)| !value.is_empty());
    let line: serde_json::Map<_, _> =
        members.map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    serde_json::Value::Object(line).to_string()
}

/// Admits one log line a second for each label. The labels are string constants, so the map has a fixed bound.
#[derive(Debug, Default)]
pub struct LogThrottle {
    /// The monotonic time of each label's last admitted line.
    admitted: RefCell<BTreeMap<&'static str, Duration>>,
    /// The last day, counted from the Unix epoch, on which [`LogThrottle::admits_today`] was asked for a label.
    days: RefCell<BTreeMap<&'static str, u64>>,
}

impl LogThrottle {
    /// Whether a line with `label` may be logged at `now` (monotonic).
    pub fn admits(&self, label: &'static str, now: Duration) -> bool {
        let mut admitted = self.admitted.borrow_mut();
        let last = admitted.get(label);
        let is_admitted = last.is_none_or(|last| now.saturating_sub(*last) >= THROTTLE_INTERVAL);
        if is_admitted {
            admitted.insert(label, now);
        }
        is_admitted
    }

    /// Whether `day` is the first time today that a line with `label` may be logged by this instance.
    pub fn admits_today(&self, label: &'static str, day: u64) -> bool {
        self.days.borrow_mut().insert(label, day) != Some(day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_fields_that_have_a_value() {
        let written = line(Level::Warn, "a \"quoted\"\nmessage", &[("cluster", ""), ("pod", "p-1")]);
        assert_eq!(written, r#"{"level":"WARN","message":"a \"quoted\"\nmessage","pod":"p-1"}"#);
    }

    #[test]
    fn each_label_is_admitted_once_a_second() {
        let throttle = LogThrottle::default();
        let at = |label, millis| throttle.admits(label, Duration::from_millis(millis));
        assert!(at("a", 0) && at("b", 0));
        assert!(!at("a", 999));
        assert!(at("a", 1000) && !at("b", 999));
    }
}
