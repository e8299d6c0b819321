//! Debounces values that somebody may still be writing.

/// A value that counts as settled when two checks in a row have found the same.
pub(super) struct Debounce<T>(Option<T>);

impl<T: PartialEq> Debounce<T> {
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Whether the previous check found the same value.
    pub(super) fn has_settled(&mut self, found: T) -> bool {
        let found = Some(found);
        let settled = self.0 == found;
        self.0 = found;
        settled
    }

    /// Forgets the previous check, because nothing differs from what is served.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_half_written_does_not_count() {
        let mut debounce = Debounce::new();
        let checks = ["", "htt", "http://a", "http://a", "http://a"];
        assert_eq!(checks.map(|found| debounce.has_settled(found)), [false, false, false, true, true]);
        debounce.forget();
        assert!(!debounce.has_settled("http://a"), "it has changed back meanwhile");
    }
}
