//! The setting `timezone_offset`.

use std::fmt;

use web::Setting;

/// The largest offset: 14 hours, as in XML Schema. The zones of today are between -12:00 and +14:00.
const MAX_MINUTES: u32 = 14 * 60;
/// The longest name of a zone that is asked for. The longest one of the database has 32 bytes.
const MAX_NAME: usize = 64;
const EXPECTED: &str =
    "hours such as 0, -3, +5:30, 05:30 or 5.5, at most 14, or the name of a zone such as Asia/Kolkata";

/// The offset of a place, or the name of the zone that the place is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TimezoneOffset {
    Fixed(Offset),
    Zone(String),
}

/// An offset from UTC in minutes, at most 14 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset(i32);

impl Offset {
    pub(crate) const UTC: Self = Self(0);

    pub(crate) const fn seconds(self) -> i32 {
        self.0 * 60
    }

    /// `+5:30`, `-03:00`, `5.5`, `-3`: an optional sign, hours of one or two digits, and minutes behind a colon or a
    /// decimal fraction that makes whole minutes.
    fn parse(value: &str) -> Option<Self> {
        let (is_negative, digits) = match value.as_bytes().first()? {
            b'-' => (true, value.get(1..)?),
            b'+' => (false, value.get(1..)?),
            _ => (false, value),
        };
        let minutes = if let Some((hours, minutes)) = digits.split_once(':') {
            number(hours, 1, 2)? * 60 + number(minutes, 2, 2).filter(|minutes| *minutes < 60)?
        } else if let Some((hours, fraction)) = digits.split_once('.') {
            let thousandths = number(fraction, 1, 3)? * 10_u32.pow(3 - u32::try_from(fraction.len()).ok()?);
            let minutes = thousandths * 60;
            number(hours, 1, 2)? * 60 + minutes.is_multiple_of(1_000).then_some(minutes / 1_000)?
        } else {
            number(digits, 1, 2)? * 60
        };
        let minutes = i32::try_from(minutes).ok().filter(|_| minutes <= MAX_MINUTES)?;
        Some(Self(if is_negative { -minutes } else { minutes }))
    }

    /// The offset that another service reports.
    pub(crate) fn from_seconds(seconds: i32) -> Option<Self> {
        let minutes = seconds / 60;
        (seconds % 60 == 0 && minutes.unsigned_abs() <= MAX_MINUTES).then_some(Self(minutes))
    }
}

/// The number that `digits` write, if there are between `least` and `most` of them.
fn number(digits: &str, least: usize, most: usize) -> Option<u32> {
    let is_number =
        (least..=most).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
}

/// As RFC 3339 has it: `+05:30`.
impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl Setting for TimezoneOffset {
    fn parse(value: &str) -> Result<Self, String> {
        let value = value.trim();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+-".contains(&byte);
        if value.eq_ignore_ascii_case("z") {
            Ok(Self::Fixed(Offset::UTC))
        } else if let Some(offset) = Offset::parse(value) {
            Ok(Self::Fixed(offset))
        } else if value.starts_with(|first: char| first.is_ascii_alphabetic())
            && value.bytes().all(is_name)
            && value.len() <= MAX_NAME
        {
            Ok(Self::Zone(value.to_owned()))
        } else {
            Err(EXPECTED.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn minutes(value: &str) -> Option<i32> {
        match TimezoneOffset::parse(value) {
            Ok(TimezoneOffset::Fixed(offset)) => Some(offset.0),
            _ => None,
        }
    }

    #[test]
    fn offsets_have_these_forms() {
        for (value, expected) in [
            ("0", 0),
            ("-0", 0),
            ("Z", 0),
            ("5", 300),
            ("+5", 300),
            ("-3", -180),
            ("+5:30", 330),
            ("05:30", 330),
            ("-03:00", -180),
            ("-3:30", -210),
            ("5.5", 330),
            ("+5.75", 345),
            ("-9.5", -570),
            ("5.05", 303),
            ("14", 840),
            ("-14:00", -840),
            (" +1 ", 60),
        ] {
            assert_eq!(minutes(value), Some(expected), "{value}");
        }
    }

    #[test]
    fn other_forms_are_refused_with_what_is_expected() {
        for value in [
            "14:01",
            "15",
            "-99",
            "+5:3",
            "5:60",
            "+",
            "-",
            ":30",
            ".5",
            "5.",
            "5.51",
            "5.3333",
            "5:30:00",
            "+-5",
            "5,5",
            "+0530",
            "٥",
            "5h",
            "1e1",
            "/Berlin",
            "Europe/Berlin?x",
            "../secret",
            "Europe Berlin",
        ] {
            assert_eq!(TimezoneOffset::parse(value), Err(EXPECTED.to_owned()), "{value}");
        }
        assert!(TimezoneOffset::parse(&"x".repeat(65)).is_err());
    }

    #[test]
    fn a_name_is_a_zone() {
        for name in
            ["Asia/Kolkata", "UTC", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "America/Port-au-Prince"]
        {
            assert_eq!(TimezoneOffset::parse(name), Ok(TimezoneOffset::Zone(name.to_owned())));
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(minutes in -840..=840_i32) {
            let shown = Offset(minutes).to_string();
            prop_assert_eq!(Offset::parse(&shown), Some(Offset(minutes)));
            prop_assert_eq!(Offset::from_seconds(minutes * 60), Some(Offset(minutes)));
        }

        #[test]
        fn any_value_has_a_result(value: String, number in "[-+]?[0-9:.]{0,8}") {
            let _ = TimezoneOffset::parse(&value);
            if let Some(minutes) = minutes(&number) {
                prop_assert!(minutes.unsigned_abs() <= MAX_MINUTES);
            }
        }
    }
}
