//! What each request does with short texts, in fewer instructions than the standard library's functions for all texts.

/// The position of the first `wanted`, eight bytes at a time.
#[must_use]
#[inline(never)]
pub fn position(bytes: &[u8], wanted: u8) -> Option<usize> {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGHEST: u64 = ONES << 7;
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in (0..).zip(words) {
        // A byte that is equal becomes 0, and of all bytes below the first 0, none borrows from the next one.
        let differences = u64::from_le_bytes(*word) ^ (ONES * u64::from(wanted));
        let equal = differences.wrapping_sub(ONES) & !differences & HIGHEST;
        if equal != 0 {
            return Some(8 * at + equal.trailing_zeros() as usize / 8);
        }
    }
    let at = rest.iter().position(|byte| *byte == wanted)?;
    Some(8 * words.len() + at)
}

/// Whether `text` has the ASCII character `wanted`.
#[must_use]
pub fn contains(text: &str, wanted: u8) -> bool {
    position(text.as_bytes(), wanted).is_some()
}

/// The parts of `text` before and after the first `separator`, which is an ASCII character.
#[must_use]
pub fn split_once(text: &str, separator: u8) -> Option<(&str, &str)> {
    let (before, behind) = text.split_at_checked(position(text.as_bytes(), separator)?)?;
    Some((before, behind.get(1..)?))
}

/// Appends `number` in decimal digits.
pub fn push_number(text: &mut String, number: u64) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// Whether two texts are equal. Compares eight bytes at a time, where `memcmp` for WebAssembly compares one.
#[must_use]
#[inline(never)]
pub fn equal(one: &str, other: &str) -> bool {
    let ((words, rest), (others, other_rest)) =
        (one.as_bytes().as_chunks::<8>(), other.as_bytes().as_chunks::<8>());
    let same = |(one, other): (&[u8; 8], &[u8; 8])| u64::from_le_bytes(*one) == u64::from_le_bytes(*other);
    one.len() == other.len()
        && words.iter().zip(others).all(same)
        && rest.iter().zip(other_rest).all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{contains, equal, push_number, split_once};

    proptest! {
        #[test]
        fn texts_are_split_as_by_the_standard_library(text in "[a?>@é=]{0,30}|\\PC{0,40}") {
            for separator in ['?', '='] {
                prop_assert_eq!(split_once(&text, separator as u8), text.split_once(separator));
                prop_assert_eq!(contains(&text, separator as u8), text.contains(separator));
            }
        }

        #[test]
        fn numbers_are_written_as_by_the_standard_library(number: u64, shift in 0_u32..64) {
            let number = number >> shift;
            let mut text = "n".to_owned();
            push_number(&mut text, number);
            prop_assert_eq!(text, format!("n{number}"));
        }

        #[test]
        fn texts_are_equal_as_by_the_standard_library(one in "[ab]{0,20}", other in "[ab]{0,20}", place in 0_usize..20) {
            prop_assert_eq!(equal(&one, &other), one == other);
            prop_assert!(equal(&one, &one.clone()));
            let mut changed = one.clone();
            if let Some(byte) = changed.get(place..=place) {
                let to = if byte == "a" { "b" } else { "a" };
                changed.replace_range(place..=place, to);
                prop_assert!(!equal(&one, &changed));
            }
        }
    }
}
