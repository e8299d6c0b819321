//! Single byte ranges of stored responses (RFC 9110, 14).

use std::ops::Range;

/// What a `Range` field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requested {
    /// The whole: the field is not valid, or names a unit or a number of ranges that the cache does not serve, and may be
    /// ignored (RFC 9110, 14.2).
    Whole,
    /// These bytes.
    Part(Range<usize>),
    /// Bytes that the response does not have.
    Unsatisfiable,
}

/// Reads the `Range` field `value` for a response of `length` bytes.
#[must_use]
pub fn requested(value: &[u8], length: usize) -> Requested {
    let Some(range) = single(value) else { return Requested::Whole };
    let part = match range {
        // The last bytes. 0 bytes are unsatisfiable.
        (None, Some(suffix)) if suffix > 0 && length > 0 => length.saturating_sub(suffix)..length,
        (Some(first), last) if first < length => {
            first..last.map_or(length, |last| last.saturating_add(1)).min(length)
        }
        _ => return Requested::Unsatisfiable,
    };
    Requested::Part(part)
}

/// The positions of `bytes=first-last`.
fn single(value: &[u8]) -> Option<(Option<usize>, Option<usize>)> {
    let (unit, range) = value.split_at_checked("bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let range = range.trim_ascii();
    let at = range.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (range.get(..at)?, range.get(at + 1..)?);
    let (first, last) = (position(first)?, position(last)?);
    match (first, last) {
        (None, None) => None,
        (Some(first), Some(last)) if last < first => None,
        positions => Some(positions),
    }
}

/// A position, or `None` inside for an empty text. A position that does not fit counts as the largest.
fn position(digits: &[u8]) -> Option<Option<usize>> {
    if digits.is_empty() {
        return Some(None);
    }
    digits
        .iter()
        .try_fold(0usize, |number, digit| {
            digit
                .is_ascii_digit()
                .then(|| number.saturating_mul(10).saturating_add(usize::from(digit - b'0')))
        })
        .map(Some)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn single_ranges() {
        for (value, expected) in [
            ("bytes=0-1", Requested::Part(0..2)),
            ("BYTES=1-", Requested::Part(1..11)),
            ("bytes=-1", Requested::Part(10..11)),
            ("bytes=-50", Requested::Part(0..11)),
            ("bytes=5-99999999999999999999999", Requested::Part(5..11)),
            ("bytes=10-10", Requested::Part(10..11)),
            ("bytes=11-", Requested::Unsatisfiable),
            ("bytes=-0", Requested::Unsatisfiable),
            ("bytes=5-4", Requested::Whole),
            ("bytes=-", Requested::Whole),
            ("bytes=a-b", Requested::Whole),
            ("bytes=0-1,3-4", Requested::Whole),
            ("items=0-1", Requested::Whole),
            ("", Requested::Whole),
        ] {
            assert_eq!(requested(value.as_bytes(), 11), expected, "{value}");
        }
        assert_eq!(requested(b"bytes=0-", 0), Requested::Unsatisfiable);
        assert_eq!(requested(b"bytes=-5", 0), Requested::Unsatisfiable);
    }

    proptest! {
        #[test]
        fn a_part_is_inside_and_not_empty(value in "(bytes=)?[0-9-]{0,30}", length in 0usize..100) {
            if let Requested::Part(part) = requested(value.as_bytes(), length) {
                prop_assert!(part.start < part.end && part.end <= length);
            }
        }
    }
}
