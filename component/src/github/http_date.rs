//! HTTP dates (RFC 9110, 5.6.7), and times in UTC as GitHub's JSON has them, as seconds since the Unix epoch.
//!
//! The crate `httpdate` is not used, because it refuses leap seconds, which the RFC's grammar allows, and dates with a
//! wrong day of the week. GitHub's `Retry-After` would then count as missing.

/// The names of the months, in their order.
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The day of a time, as `2028-03-10`. `seconds` are since the Unix epoch; a year beyond 9999 is not expected.
pub fn day(seconds: u64) -> String {
    // Years that begin in March end with the leap day. An era has 400 years.
    let days = seconds / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + carry)
}

/// Reads a date in one of the three forms; `None` if it has another form. A two-digit year is in 1970 to 2069.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let (day, month, year, time) = match text.split_once(", ") {
        // Sun, 06 Nov 1994 08:49:37 GMT
        // Sunday, 06-Nov-94 08:49:37 GMT
        Some((_weekday, rest)) => {
            let mut fields = rest.strip_suffix(" GMT")?.split([' ', '-']);
            let (day, month, year) = (fields.next()?, fields.next()?, fields.next()?);
            let time = fields.next().filter(|_| fields.next().is_none())?;
            (day, month, year, time)
        }
        // Sun Nov  6 08:49:37 1994
        None => {
            let mut fields = text.split_ascii_whitespace().skip(1);
            let (month, day, time) = (fields.next()?, fields.next()?, fields.next()?);
            let year = fields.next().filter(|_| fields.next().is_none())?;
            (day, month, year, time)
        }
    };
    let year = match (year.len(), number(year)?) {
        (2, year @ 0..70) => 2000 + year,
        (2, year) => 1900 + year,
        (4, year @ 1970..) => year,
        _ => return None,
    };
    let month = 1 + MONTHS.into_iter().zip(0..).find_map(|(name, index)| (name == month).then_some(index))?;
    seconds(year, month, day, time)
}

/// Reads a time such as `2016-07-11T22:14:10Z` (RFC 3339, 5.6), in UTC, of 1970 or later; `None` if it has another form. A
/// fraction of a second is left out.
pub fn parse_utc(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let time = match time.split_once('.') {
        Some((time, fraction)) => fraction.bytes().all(|b| b.is_ascii_digit()).then_some(time)?,
        None => time,
    };
    let mut fields = date.split('-');
    let (year, month, day) = (fields.next()?, fields.next()?, fields.next()?);
    let is_date = fields.next().is_none() && [year.len(), month.len(), day.len()] == [4, 2, 2];
    let year = number(year).filter(|year| is_date && *year >= 1970)?;
    let month = number(month).filter(|month| (1..=12).contains(month))?;
    seconds(year, month, day, time)
}

/// The day of a month and a time of that day, as text, in seconds since the Unix epoch.
fn seconds(year: u64, month: u64, day: &str, time: &str) -> Option<u64> {
    let day = number(day).filter(|day| (1..=days_in(year, month)).contains(day))?;
    let mut clock = time.split(':').map(|field| number(field).filter(|_| field.len() == 2));
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    // A leap second may be written as 60.
    if clock.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some(((days_before(year, month) + day - 1) * 24 + hour) * 3600 + minute * 60 + second)
}

/// A number of one to four digits.
fn number(text: &str) -> Option<u64> {
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn is_leap(year: u64) -> bool {
    (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The days from the Unix epoch to the first day of a month. `year` is at least 1970.
fn days_before(year: u64, month: u64) -> u64 {
    let past = year - 1;
    let leap_days = |year: u64| year / 4 - year / 100 + year / 400;
    let years = (year - 1970) * 365 + leap_days(past) - leap_days(1969);
    years + (1..month).map(|month| days_in(year, month)).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{parse, parse_utc};

    #[test]
    fn reads_the_three_forms() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(text), Some(784_111_777), "{text}");
        }
        assert_eq!(parse("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(parse("Thu, 29 Feb 2024 23:59:60 GMT"), Some(1_709_251_200));
        assert_eq!(parse("Fri, 31 Dec 9999 23:59:59 GMT"), Some(253_402_300_799));
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in [
            "",
            "0",
            "Thu, 29 Feb 2023 00:00:00 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Sun, 31 Nov 1994 08:49:37 GMT",
            "Sun, 06 nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1969 08:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 CET",
            "Sun, 06 Nov 1994 08:49:37:00 GMT",
            "Sun, 06 Nov 1994 08:49:37 x GMT",
            "Sun Nov  6 08:49:37 1994 x",
            "Sun, 06 Nov 999999999999999999999 08:49:37 GMT",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_time_in_utc() {
        assert_eq!(parse_utc("1994-11-06T08:49:37Z"), Some(784_111_777));
        for text in [
            "",
            "1994-11-06",
            "1994-11-06T08:49:37",
            "1994-11-06T08:49:37+00:00",
            "1994-11-06 08:49:37Z",
            "1994-11-06T08:49Z",
            "1994-11-06T08:49:37.xZ",
            "1994-11-31T08:49:37Z",
            "1994-13-06T08:49:37Z",
            "1994-0-06T08:49:37Z",
            "1969-11-06T08:49:37Z",
            "94-11-06T08:49:37Z",
            "1994-11-06-01T08:49:37Z",
            "1994-11-06T24:00:00Z",
        ] {
            assert_eq!(parse_utc(text), None, "{text}");
        }
    }

    proptest! {
        /// The oracle counts the days of the civil calendar one year and one month at a time.
        #[test]
        fn days_follow_each_other(days in 0_u64..60_000, second in 0_u64..86_400) {
            let (mut year, mut day) = (1970, days);
            loop {
                let length = if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 366 } else { 365 };
                if day < length { break }
                day -= length;
                year += 1;
            }
            let february = if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) { 29 } else { 28 };
            let mut month = "";
            for (name, length) in [
                ("Jan", 31), ("Feb", february), ("Mar", 31), ("Apr", 30), ("May", 31), ("Jun", 30),
                ("Jul", 31), ("Aug", 31), ("Sep", 30), ("Oct", 31), ("Nov", 30), ("Dec", 31),
            ] {
                month = name;
                if day < length { break }
                day -= length;
            }
            let text = format!(
                "Day, {:02} {month} {year} {:02}:{:02}:{:02} GMT",
                day + 1, second / 3600, second / 60 % 60, second % 60,
            );
            prop_assert_eq!(parse(&text), Some(days * 86_400 + second));
            let number = 1 + super::MONTHS.iter().position(|name| *name == month).unwrap();
            let time = format!("T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60);
            let utc = super::day(days * 86_400 + second) + &time;
            prop_assert_eq!(parse_utc(&utc), Some(days * 86_400 + second));
            prop_assert_eq!(parse_utc(&utc.replace('Z', ".123Z")), Some(days * 86_400 + second));
            prop_assert_eq!(super::day(days * 86_400 + second), format!("{year:04}-{number:02}-{:02}", day + 1));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "(\\PC|[A-Z][a-z]{2}|[0-9]{1,4}|[ ,:-]|GMT){0,16}") {
            let _ = (parse(&text), parse_utc(&text));
        }
    }
}
