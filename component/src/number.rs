//! Integers and booleans as pydantic v2 reads them from a string, in its lax mode.

use std::fmt;

/// Most significant digits of an integer that is read at all: Python's own limit for `int(str)`.
pub const MAX_DIGITS: usize = 4300;

/// Why a string is no integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntegerError {
    /// It does not have the form of an integer.
    Malformed,
    /// It has more than [`MAX_DIGITS`] significant digits.
    TooLong,
}

/// Reads an integer: surrounding white space, one sign, leading zeros, single underscores between digits
/// and a fraction of zeros are fine. A value outside `i64` saturates: only its order matters here.
///
/// # Errors
/// [`IntegerError`], as pydantic tells the cases apart.
pub fn integer(text: &str) -> Result<i64, IntegerError> {
    let text = text.trim();
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..)),
        Some(b'+') => (false, text.get(1..)),
        _ => (false, Some(text)),
    };
    let whole = without_zero_fraction(unsigned.unwrap_or_default());
    let magnitude = magnitude(whole)?;
    Ok(if negative { -magnitude } else { magnitude })
}

/// Cuts `.0`, `.00`, … off; any other fraction stays, and is found malformed later.
fn without_zero_fraction(text: &str) -> &str {
    match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() && fraction.bytes().all(|b| b == b'0') => whole,
        _ => text,
    }
}

/// Digits with single underscores between them; behind a leading zero, pydantic lets zeros and underscores mix freely.
fn magnitude(text: &str) -> Result<i64, IntegerError> {
    let significant = match text.strip_prefix('0') {
        Some(rest) => match rest.trim_start_matches(['0', '_']) {
            "" if rest.ends_with('_') => return Err(IntegerError::Malformed),
            "" => return Ok(0),
            significant => significant,
        },
        None => text,
    };
    let (mut value, mut digits, mut after_digit) = (0_i64, 0_usize, false);
    for byte in significant.bytes() {
        match byte {
            b'0'..=b'9' => {
                value = value.saturating_mul(10).saturating_add(i64::from(byte - b'0'));
                digits += 1;
                after_digit = true;
            }
            b'_' if after_digit => after_digit = false,
            _ => return Err(IntegerError::Malformed),
        }
    }
    match (after_digit, digits) {
        (false, _) => Err(IntegerError::Malformed),
        (true, digits) if digits > MAX_DIGITS => Err(IntegerError::TooLong),
        (true, _) => Ok(value),
    }
}

/// Reads a boolean; white space around it is not forgiven. `None` if it is none.
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

/// What page and page size share: GitHub serves 1 to 100 of either.
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

/// On which side an integer misses its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfRange {
    /// Below the least value.
    Low,
    /// Above the greatest value.
    High,
}

/// A page's number, 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Page(Bounded);

/// How many gists a page holds at most, 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerPage(Bounded);

impl Page {
    /// The first page, and the default.
    pub const FIRST: Self = Self(Bounded(Bounded::MIN));
    /// The last page that can be asked for.
    pub const LAST: Self = Self(Bounded(Bounded::MAX));

    /// The page with that number.
    ///
    /// # Errors
    /// The side on which the number is out of range.
    pub fn new(number: i64) -> Result<Self, OutOfRange> {
        Bounded::new(number).map(Self)
    }

    /// Its number.
    pub fn get(self) -> u8 {
        self.0.0
    }

    /// The page behind this one, unless this is the last that can be asked for.
    pub fn next(self) -> Option<Self> {
        Self::new(i64::from(self.get()) + 1).ok()
    }

    /// The page before this one, unless this is the first.
    pub fn previous(self) -> Option<Self> {
        Self::new(i64::from(self.get()) - 1).ok()
    }
}

impl PerPage {
    /// GitHub's default.
    pub const DEFAULT: Self = Self(Bounded(30));

    /// That many gists a page.
    ///
    /// # Errors
    /// The side on which the number is out of range.
    pub fn new(number: i64) -> Result<Self, OutOfRange> {
        Bounded::new(number).map(Self)
    }

    /// The number of gists.
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
