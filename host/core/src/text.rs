//! Texts that come from outside, cut to a bound.

/// The first `limit` bytes of `text` at most, cut between characters.
#[must_use]
pub fn bounded(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}
