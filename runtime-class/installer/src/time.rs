//! Times as the Kubernetes API writes them (RFC 3339, in UTC).

use std::time::SystemTime;

use jiff::Timestamp;

/// A time with microseconds, as `MicroTime` of the API: `2026-11-30T15:04:05.000006Z`. A time that no such text has is 1970.
pub(crate) fn micro_time(time: SystemTime) -> String {
    let time = Timestamp::try_from(time).unwrap_or_default();
    format!("{time:.6}")
}

/// Seconds since 1970 of a time that the API wrote; `None` for other texts. Fractions of a second are dropped.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let time: Timestamp = text.strip_suffix('Z').and(text.parse().ok())?;
    u64::try_from(time.as_second()).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (at, text) in [
            (0, "1970-01-01T00:00:00.000006Z"),
            (951_782_399, "2000-02-28T23:59:59.000006Z"),
            (951_868_799, "2000-02-29T23:59:59.000006Z"),
            (1_798_642_800, "2026-12-30T15:00:00.000006Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000006Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(at) + Duration::from_micros(6);
            assert_eq!(micro_time(time), text);
            assert_eq!(seconds(text), Some(at));
        }
        assert_eq!(seconds("2026-12-31T23:59:59Z"), Some(1_798_761_599));
        for wrong in ["", "soon", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00+01:00", "2026-01-01"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
