//! Dates of HTTP in any case (RFC 9111, 5.3, reads them so; RFC 9110, 5.6.7, has the formats).

use std::time::SystemTime;

use http::{HeaderMap, HeaderName};

/// Longest date: `Wednesday, 06-Nov-94 08:49:37 GMT` has 33 bytes.
const MAX_BYTES: usize = 40;

const WEEK: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Reads a date in one of the three formats. `None`: the text is no date.
#[must_use]
pub fn parse(text: &[u8]) -> Option<SystemTime> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?.trim_ascii();
    if let Ok(date) = httpdate::parse_http_date(text) {
        return Some(date);
    }
    let mut normal = String::with_capacity(text.len());
    let mut word_begins = true;
    for c in text.chars() {
        normal.push(if word_begins { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() });
        word_begins = !c.is_ascii_alphabetic();
    }
    if normal.ends_with(" Gmt") {
        normal.truncate(normal.len() - 4);
        normal.push_str(" GMT");
    }
    if let Ok(date) = httpdate::parse_http_date(&normal) {
        return Some(date);
    }
    // The parser compares the day of the week with the date. The standard does not ask for it.
    let (day, rest) = normal.split_at_checked(3)?;
    WEEK.contains(&day)
        .then(|| WEEK.iter().find_map(|day| httpdate::parse_http_date(&format!("{day}{rest}")).ok()))?
}

/// The date in the first line of the field `name`. `None`: there is none, or it is not valid.
#[must_use]
pub fn field(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    headers.get(name).and_then(|value| parse(value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn the_three_formats_in_any_case() {
        let date = Some(UNIX_EPOCH + Duration::from_secs(784_111_777));
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "SUN, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 NOV 1994 08:49:37 gMT",
            "Mon, 06 Nov 1994 08:49:37 GMT",
            "Thu Nov  6 08:49:37 1994",
        ] {
            assert_eq!(parse(text.as_bytes()), date, "{text}");
        }
        assert!(
            parse(b"Thursday, 18-Aug-50 02:01:18 GMT")
                > Some(UNIX_EPOCH + Duration::from_secs(2_000_000_000))
        );
    }

    #[test]
    fn what_is_not_quite_a_date_is_none() {
        for text in [
            "0",
            "",
            "foo",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Xyz, 18 Aug 2050 02:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT, Thu, 18 Aug 2050 2:01:19 GMT",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
