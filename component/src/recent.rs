//! The pages that an instance was asked for lately. A request for one of them need not be routed and validated again.

use std::cell::RefCell;
use std::rc::Rc;

use crate::cache::LookUpKeys;
use crate::request::target::PageTarget;
use crate::text;

/// How many pages are remembered. A power of two.
const PAGES: usize = 64;
/// The longest target that is remembered, in bytes.
const MAX_TARGET: usize = 256;

/// A page that was asked for.
#[derive(Debug, Clone)]
pub struct RecentPage {
    /// What the target says.
    pub target: Rc<PageTarget>,
    /// The keys of the page's records.
    pub keys: Rc<LookUpKeys>,
}

/// Pages by their target. Each target has one place, which the newest page takes.
#[derive(Debug)]
pub struct RecentPages {
    places: [RefCell<Option<(String, RecentPage)>>; PAGES],
}

impl Default for RecentPages {
    fn default() -> Self {
        Self { places: [const { RefCell::new(None) }; PAGES] }
    }
}

impl RecentPages {
    /// The page that the target of a `GET` or `HEAD` asks for, if it is remembered.
    #[must_use]
    pub fn get(&self, target: &str) -> Option<RecentPage> {
        let place = self.places.get(place(target))?.borrow();
        place.as_ref().filter(|(known, _)| text::equal(known, target)).map(|(_, page)| page.clone())
    }

    /// Remembers the page that `target` asks for.
    pub fn insert(&self, target: &str, page: RecentPage) {
        if target.len() <= MAX_TARGET
            && let Some(place) = self.places.get(place(target))
        {
            *place.borrow_mut() = Some((target.to_owned(), page));
        }
    }
}

/// The place of a target. Whoever chooses targets that share a place only makes them displace each other.
fn place(target: &str) -> usize {
    /// 2^64 divided by the golden ratio.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = target.as_bytes().as_chunks::<8>();
    let rest = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let words = words.iter().map(|word| u64::from_le_bytes(*word)).chain([rest]);
    let mixed = words.fold(0_u64, |mixed, word| (mixed.rotate_left(5) ^ word).wrapping_mul(FACTOR));
    usize::try_from(mixed >> (64 - PAGES.trailing_zeros())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::route::Endpoint;

    fn page(name: &str) -> RecentPage {
        let target = Rc::new(PageTarget::new(Endpoint::User, name, "").unwrap());
        RecentPage { target, keys: Rc::default() }
    }

    #[test]
    fn a_page_is_found_by_its_whole_target_until_another_takes_its_place() {
        let recent = RecentPages::default();
        let name = |found: Option<RecentPage>| found.map(|page| page.target.username.to_string());
        recent.insert("/octocat", page("octocat"));
        assert_eq!(name(recent.get("/octocat")), Some("octocat".to_owned()));
        assert_eq!(name(recent.get("/octocat?page=2")), None);
        let same_place = |target: &String| place(target) == place("/octocat");
        let other = (0..).map(|number| format!("/user{number}")).find(same_place).unwrap();
        assert_eq!(name(recent.get(&other)), None);
        recent.insert(&other, page("other"));
        assert_eq!(
            (name(recent.get("/octocat")), name(recent.get(&other))),
            (None, Some("other".to_owned()))
        );
    }

    #[test]
    fn long_targets_are_not_kept_and_others_are_spread() {
        let recent = RecentPages::default();
        let long = format!("/octocat?{}", "x".repeat(MAX_TARGET));
        recent.insert(&long, page("octocat"));
        assert!(recent.get(&long).is_none());
        let mut counts = [0; PAGES];
        (0..6400).for_each(|number| counts[place(&format!("/user{number}?per_page=7"))] += 1);
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }
}
