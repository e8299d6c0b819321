//! What all components share: the store and the settings.

use std::sync::Arc;

use crate::store::Store;

/// The largest stored response is this part of the capacity.
const LARGEST_SHARE: usize = 16;

/// The settings of a cache.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The most bytes of all stored responses, of responses that are being stored, and of evicted responses that clients
    /// still read.
    pub capacity: usize,
    /// Whether the directives of requests count (RFC 9111, 5.2.1). If not, no client can bypass the cache.
    pub request_directives: bool,
    /// Whether a response with `Set-Cookie` may be stored that has a lifetime and no directive for shared caches.
    pub set_cookie: bool,
}

/// The store, and the settings.
pub(crate) struct State {
    pub(crate) store: Store,
    pub(crate) settings: Settings,
}

impl State {
    pub(crate) fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self { store: Store::new(settings.capacity), settings })
    }

    /// The most bytes of one response's body.
    pub(crate) fn largest(&self) -> usize {
        self.settings.capacity / LARGEST_SHARE
    }
}
