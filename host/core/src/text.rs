//! Bounds for texts that come from clients and guests.

/// Returns at most the first `limit` bytes of `text`, cut between characters.
#[must_use]
pub fn bounded(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}
