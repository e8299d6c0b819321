//! Integers and booleans as pydantic v2 reads them from a string in its lax mode.

use std::fmt;

/// The most significant digits that an integer may have: Python's limit for `int(str)`.
pub const MAX_DIGITS: usize = 4300;

/// Why a string is not an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegerError {
    /// It does not have the form of an integer.
    Malformed,
    /// It has more than [`MAX_DIGITS`] significant digits.
    TooLong,
}

/// Reads an integer. Surrounding white space, one sign, leading zeros, single underscores between digits and a
/// fraction of zeros are allowed. A value outside of `i64` saturates, because callers only compare it with bounds.
///
/// # Errors
/// [`IntegerError`], with pydantic's distinction of the cases.
pub fn integer(text: &str) -> Result<i64, IntegerError> {
    // Nearly all integers are page numbers and page sizes in their usual form.
    match text.as_bytes() {
        [digit @ b'0'..=b'9'] => return Ok(i64::from(digit - b'0')),
        [ten @ b'1'..=b'9', one @ b'0'..=b'9'] => return Ok(i64::from((ten - b'0') * 10 + (one - b'0'))),
        _ => {}
    }
    if starts_oversized(text) {
        return Err(IntegerError::TooLong);
    }
    let (negative, unsigned) = split_sign(text.trim());
    let magnitude = magnitude(without_zero_fraction(unsigned)).ok_or(IntegerError::Malformed)?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// Whether the untrimmed text starts with too many digits. pydantic checks that first and only at the start. Too many
/// digits after white space, a plus or a zero, or with underscores between them, are malformed instead.
fn starts_oversized(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    text.len() > MAX_DIGITS
        && !digits.starts_with('0')
        && digits.bytes().take_while(u8::is_ascii_digit).count() > MAX_DIGITS
}

/// Whether the number is negative, and the text after its sign.
fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Removes a fraction of zeros. Any other fraction stays, and makes the number malformed later.
fn without_zero_fraction(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|b| b == b'0') => whole,
        _ => text,
    }
}

/// Reads digits with single underscores between them. After a leading zero, pydantic allows any mix of zeros and
/// underscores. It also allows a minus sign there (`0-9`); here that is malformed. Both answers are a 422.
fn magnitude(text: &str) -> Option<i64> {
    let significant = match text.strip_prefix('0') {
        Some(rest) => match rest.trim_start_matches(['0', '_']) {
            "" => return (!rest.ends_with('_')).then_some(0),
            significant => significant,
        },
        None => text,
    };
    let (mut value, mut digits, mut after_digit) = (0_i64, 0_usize, false);
    for byte in significant.bytes() {
        match byte {
            b'0'..=b'9' if digits < MAX_DIGITS => {
                value = value.saturating_mul(10).saturating_add(i64::from(byte - b'0'));
                digits += 1;
                after_digit = true;
            }
            b'_' if after_digit => after_digit = false,
            _ => return None,
        }
    }
    after_digit.then_some(value)
}

/// Reads a boolean in pydantic's spellings, in any case. `None` if the text is anything else; white space around it
/// is not allowed.
pub fn boolean(text: &str) -> Option<bool> {
    let is = |word: &&str| text.eq_ignore_ascii_case(word);
    if ["1", "true", "t", "yes", "y", "on"].iter().any(is) {
        Some(true)
    } else if ["0", "false", "f", "no", "n", "off"].iter().any(is) {
        Some(false)
    } else {
        None
    }
}

/// The range of page numbers and page sizes: GitHub serves 1 to 100 of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Bounded(u8);

impl Bounded {
    const MIN: u8 = 1;
    const MAX: u8 = 100;

    fn new(value: i64) -> Result<Self, OutOfRange> {
        match u8::try_from(value) {
            Ok(value @ Self::MIN..=Self::MAX) => Ok(Self(value)),
            _ if value < i64::from(Self::MIN) => Err(OutOfRange::Low),
            _ => Err(OutOfRange::High),
        }
    }
}

/// The side on which an integer is out of its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfRange {
    /// The integer is below 1.
    Low,
    /// The integer is above 100.
    High,
}

/// The number of a page, 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Page(Bounded);

/// The page size: how many gists a page has at most, 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerPage(Bounded);

impl Page {
    /// The first page, which is the default.
    pub const FIRST: Self = Self(Bounded(Bounded::MIN));
    /// The last page that a client may ask for.
    pub const LAST: Self = Self(Bounded(Bounded::MAX));

    /// The page with this number.
    ///
    /// # Errors
    /// [`OutOfRange`] if `number` is not in 1 to 100.
    pub fn new(number: i64) -> Result<Self, OutOfRange> {
        Bounded::new(number).map(Self)
    }

    /// The page number, 1 to 100.
    pub fn get(self) -> u8 {
        self.0.0
    }

    /// The next page; `None` after [`Page::LAST`].
    pub fn next(self) -> Option<Self> {
        Self::new(i64::from(self.get()) + 1).ok()
    }

    /// The previous page; `None` before [`Page::FIRST`].
    pub fn previous(self) -> Option<Self> {
        Self::new(i64::from(self.get()) - 1).ok()
    }
}

impl PerPage {
    /// 30 gists, GitHub's default.
    pub const DEFAULT: Self = Self(Bounded(30));

    /// A page size of `number` gists.
    ///
    /// # Errors
    /// [`OutOfRange`] if `number` is not in 1 to 100.
    pub fn new(number: i64) -> Result<Self, OutOfRange> {
        Bounded::new(number).map(Self)
    }

    /// The number of gists, 1 to 100.
    pub fn get(self) -> u8 {
        self.0.0
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl fmt::Display for PerPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{IntegerError, OutOfRange, Page, PerPage, boolean, integer};

    #[test]
    fn reads_what_pydantic_reads() {
        for (text, value) in [
            ("7", 7),
            (" 1", 1),
            ("+5", 5),
            ("-0", 0),
            ("1.0", 1),
            ("1_0", 10),
            ("007", 7),
            ("0__7", 7),
            ("9223372036854775808", i64::MAX),
        ] {
            assert_eq!(integer(text), Ok(value), "{text}");
        }
        for text in
            ["", "-", "+-5", "1.5", "1.", ".0", "_1", "1_", "1__0", "0_", "1e2", "0x1", "\u{ff11}", "1.0_0"]
        {
            assert_eq!(integer(text), Err(IntegerError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_page_is_between_1_and_100() {
        for number in -2..=102 {
            let expected = match number {
                ..1 => Err(OutOfRange::Low),
                1..=100 => Ok(number),
                101.. => Err(OutOfRange::High),
            };
            assert_eq!(Page::new(number).map(|page| i64::from(page.get())), expected);
            assert_eq!(PerPage::new(number).map(|per_page| i64::from(per_page.get())), expected);
        }
        assert_eq!(Page::new(i64::MIN), Err(OutOfRange::Low));
        assert_eq!(Page::new(i64::MAX), Err(OutOfRange::High));
        assert_eq!((Page::FIRST.previous(), Page::LAST.next()), (None, None));
        assert_eq!(Page::FIRST.next().and_then(Page::previous), Some(Page::FIRST));
    }

    proptest! {
        #[test]
        fn whatever_is_printed_is_read(value: i64, zeros in 0_usize..5, fraction in 0_usize..3, space in "[ \\t\u{a0}]{0,2}") {
            let sign = if value < 0 { "-" } else { "" };
            let fraction = if fraction > 0 { format!(".{:0<fraction$}", "") } else { String::new() };
            let text = format!("{space}{sign}{:0<zeros$}{}{fraction}{space}", "", value.unsigned_abs());
            prop_assert_eq!(integer(&text), Ok(value.max(-i64::MAX)));
        }

        #[test]
        fn underscores_between_digits_change_nothing(digits in "[1-9][0-9]{0,17}") {
            let separated: Vec<_> = digits.chars().map(String::from).collect();
            prop_assert_eq!(integer(&separated.join("_")), integer(&digits));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = (integer(&text), boolean(&text));
        }
    }
}
