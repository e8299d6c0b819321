//! One component's part of the cache.

use std::sync::{
    Arc,
    atomic::{
        AtomicU64, AtomicUsize,
        Ordering::{Relaxed, SeqCst},
    },
};

use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};

use crate::{
    entry::Entry,
    groups::{self, GroupTable, TooMany},
    key::{self, Address},
    purge::Purge,
    state::State,
};

/// One component's part of the cache.
pub struct Space {
    pub(crate) state: Arc<State>,
    id: u64,
    /// The number of the invalidation that has invalidated the whole space.
    epoch: AtomicU64,
    pub(crate) groups: GroupTable,
    /// Requests that wait for others.
    followers: AtomicUsize,
}

/// A request that waits for another one.
pub struct Following<'a>(&'a Space);

impl Drop for Following<'_> {
    fn drop(&mut self) {
        self.0.followers.fetch_sub(1, Relaxed);
    }
}

impl Space {
    pub(crate) fn new(state: Arc<State>, id: u64) -> Self {
        Self {
            state,
            id,
            epoch: AtomicU64::new(0),
            groups: GroupTable::default(),
            followers: AtomicUsize::new(0),
        }
    }

    /// Begins to wait for a flight. `None`: this many requests wait already.
    #[must_use]
    pub fn follow(&self, most: usize) -> Option<Following<'_>> {
        let room = |followers| (followers < most).then_some(followers + 1);
        self.followers.fetch_update(Relaxed, Relaxed, room).ok()?;
        Some(Following(self))
    }

    pub(crate) fn address<'a>(&self, https: bool, authority: &'a str, path: &'a str) -> Address<'a> {
        Address { space: self.id, https, authority, path }
    }

    /// The component has answered an unsafe request to `address` with `status` and `headers` (RFC 9111, 4.4; RFC 9875, 3).
    pub(crate) fn invalidate(&self, address: &Address<'_>, status: StatusCode, headers: &HeaderMap) {
        if status.is_success() || status.is_redirection() {
            self.invalidate_address(address);
            for name in [header::LOCATION, header::CONTENT_LOCATION] {
                let path = headers.get(name).and_then(|value| same_origin(value, address));
                if let Some(path) = path {
                    self.invalidate_address(&Address { path: &path, ..*address });
                }
            }
        }
        match groups::groups(headers, &groups::CACHE_GROUP_INVALIDATION) {
            Ok(groups) => {
                for group in &groups {
                    self.invalidate_group(group);
                }
            }
            // Any response may belong to a group that the field names. A cache may always invalidate more.
            Err(TooMany) => self.invalidate_all(),
        }
    }

    /// The entries stay in the store until somebody asks for them, or they are evicted.
    fn invalidate_all(&self) {
        self.epoch.fetch_max(self.state.store.next_invalidation(), SeqCst);
    }

    fn invalidate_address(&self, address: &Address<'_>) -> usize {
        let store = &self.state.store;
        let count = store.next_invalidation();
        let hash = store.hash(address);
        let removed = store.with(hash, |shard| shard.invalidate(hash, address, count));
        store.counts.invalidated.inc_by(removed.len() as u64);
        removed.len()
    }

    /// The entries stay in the store until somebody asks for them, or they are evicted.
    fn invalidate_group(&self, group: &str) -> bool {
        self.groups.invalidate(group, self.state.store.next_invalidation())
    }

    /// Removes what the operator names. Returns the number of responses.
    pub(crate) fn purge(&self, purge: &Purge<'_>) -> usize {
        let store = &self.state.store;
        if let Some((authority, path)) = purge.address {
            let schemes = [false, true].into_iter();
            return schemes.map(|https| self.invalidate_address(&self.address(https, authority, path))).sum();
        }
        match purge.group {
            Some(group) => {
                self.invalidate_group(group);
            }
            None => self.invalidate_all(),
        }
        let epoch = self.epoch.load(SeqCst);
        store
            .retain(|key, entry| key.space != self.id || entry.head.begun >= epoch && !entry.is_invalidated())
    }

    /// The number of the invalidation that has invalidated the whole space.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(SeqCst)
    }

    /// Whether the whole space was invalidated after the request for `entry` began.
    pub(crate) fn is_over(&self, entry: &Entry) -> bool {
        entry.head.begun < self.epoch.load(SeqCst)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        self.state.store.retain(|key, _| key.space != self.id);
    }
}

/// The path and the query of a location, if it is at the same origin as `address`.
fn same_origin(location: &HeaderValue, address: &Address<'_>) -> Option<String> {
    let location = location.to_str().ok()?;
    if location.len() > key::MAX_BYTES {
        return None;
    }
    let location = location.split('#').next().unwrap_or_default();
    let uri: Uri = match location.strip_prefix("//") {
        // Relative to the scheme.
        Some(rest) => format!("http{}://{rest}", if address.https { "s" } else { "" }).parse().ok()?,
        None if location.starts_with('/') || location.contains("://") => location.parse().ok()?,
        // Relative to the path.
        None => {
            let base = address.path.split('?').next().unwrap_or_default();
            let directory = base.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{directory}/{location}").parse().ok()?
        }
    };
    let is_same = uri.authority().is_none_or(|authority| authority.as_str() == address.authority)
        && uri.scheme_str().is_none_or(|scheme| scheme == if address.https { "https" } else { "http" });
    is_same.then(|| uri.path_and_query().map_or("/", |path| path.as_str()).to_owned())
}
