//! Values that change while somebody writes them.

/// What changes while somebody writes it, and counts once two looks in a row have found the same.
pub(super) struct Debounce<T>(Option<T>);

impl<T: PartialEq> Debounce<T> {
    pub(super) fn new() -> Self {
        Self(None)
    }

    /// Whether the look before found this too.
    pub(super) fn has_settled(&mut self, found: T) -> bool {
        let found = Some(found);
        let settled = self.0 == found;
        self.0 = found;
        settled
    }

    /// All is as it was.
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
        let looks = ["", "htt", "http://a", "http://a", "http://a"];
        assert_eq!(looks.map(|found| debounce.has_settled(found)), [false, false, false, true, true]);
        debounce.forget();
        assert!(!debounce.has_settled("http://a"), "it has changed back meanwhile");
    }
}
