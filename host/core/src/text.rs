//! Bounds for texts that come from clients, guests and upstreams.

use std::fmt::{self, Write as _};

/// Bytes of an error's text in a log line and in memory. Guests, upstreams and stores write a part of such texts.
const ERROR_BYTES: usize = 4 << 10;

/// Returns at most the first `limit` bytes of `text`, cut between characters.
#[must_use]
pub fn bounded(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or(text)
}

/// Shows an error, cut after 4 KiB. Guests, upstreams and stores may have written a part of the text.
pub struct BoundedError<T>(pub T);

impl<T: fmt::Display> fmt::Display for BoundedError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cut = Cut { to: f, left: ERROR_BYTES, failure: Ok(()) };
        // The error of `write!` says where the text was cut, unless the formatter has failed.
        let whole = write!(cut, "{}", self.0);
        cut.failure?;
        if whole.is_err() { f.write_str("…") } else { Ok(()) }
    }
}

/// Writes up to a number of bytes, and then fails.
struct Cut<'a, 'b> {
    to: &'a mut fmt::Formatter<'b>,
    left: usize,
    failure: fmt::Result,
}

impl fmt::Write for Cut<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = bounded(text, self.left);
        self.left -= fits.len();
        self.failure = self.to.write_str(fits);
        if fits.len() < text.len() || self.failure.is_err() { Err(fmt::Error) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_cut_between_characters() {
        assert_eq!(BoundedError("short").to_string(), "short");
        let long = "é".repeat(3 << 20);
        let shown = BoundedError(format_args!("x{long}{long}")).to_string();
        assert_eq!(shown, format!("x{}…", "é".repeat((ERROR_BYTES - 1) / 2)));
    }
}
