//! The outcome of fetching a page, as a singleflight call shares it.

use std::rc::Rc;

use crate::cache::entry::Content;
use crate::upstream::failure::PageFailure;

/// The outcome of fetching a page.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The page, and where it comes from.
    Content(Rc<Content>, ContentSource),
    /// There is no page, and why.
    Failed(PageFailure),
}

/// Where a page comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentSource {
    /// The store: another process had just written it.
    Stored,
    /// GitHub, which sent the whole page (200).
    Fetched,
    /// The store, after GitHub confirmed it (304).
    Revalidated,
    /// Another process, which held the lease while this one waited.
    Elsewhere,
}
