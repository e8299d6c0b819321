//! Times as the Kubernetes API writes them (RFC 3339, in UTC).

use std::time::{SystemTime, UNIX_EPOCH};

const DAY: u64 = 86_400;

/// A time with microseconds, as `MicroTime` of the API: `2026-11-30T15:04:05.000006Z`.
pub(crate) fn micro_time(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / DAY, since.as_secs() % DAY);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:06}Z", since.subsec_micros())
}

/// Seconds since 1970 of a time that the API wrote; `None` for other texts. Fractions of a second are dropped.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let in_day = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    if !text.ends_with('Z')
        || !(1970..10_000).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
    {
        return None;
    }
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: u64 = (1..month).map(|month| days_of(year, month)).sum();
    Some((years + months + day - 1) * DAY + in_day)
}

/// Year, month and day of the month, from the days since 1970.
fn date(mut days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let mut month = 1;
    while days >= days_of(year, month) {
        days -= days_of(year, month);
        month += 1;
    }
    (year, month, days + 1)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
