//! A part of the store: the resources whose hashes belong to it, and their requests to the component that are in flight. One lock
//! protects both, so that no invalidation can come between the end of a request and the storing of its response.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hashbrown::HashTable;
use http::HeaderMap;

use crate::{
    entry::Entry,
    eviction::{self, MAX_VISITS, Place, Queues, Step},
    flight::Flight,
    key::{Address, Key},
};

/// The most responses for one address.
const MAX_VARIANTS: usize = 32;
/// What a resource takes in its shard beside its key and its entries: the table, a queue, and the list of variants.
pub(crate) const RESOURCE_OVERHEAD: usize = 256;
/// How long requests for an address go to the component without waiting for one another, after one response could not be stored.
const UNCOLLAPSIBLE_FOR: Duration = Duration::from_secs(10);
/// The most such addresses in a shard.
const MAX_UNCOLLAPSIBLE: usize = 1024;

/// What is stored for one address.
struct Resource {
    key: Key,
    hash: u64,
    /// Its number in the shard.
    id: u64,
    visits: u8,
    place: Place,
    /// The newest last.
    variants: Vec<Arc<Entry>>,
}

/// Requests to the component that are in flight for one address.
#[derive(Default)]
struct InProgress {
    requests: usize,
    /// The count of invalidations at the last invalidation of the address.
    invalidated: u64,
    /// Those that others may wait for, each with the hash of its selecting fields.
    leaders: Vec<(u64, Arc<Flight>)>,
}

/// The result of a lookup in a shard.
pub(crate) enum Found {
    /// The response that answers the request.
    Entry(Arc<Entry>),
    /// Responses for the address that answer other requests.
    Others(Arc<Entry>),
    Nothing,
}

/// A request that a shard has admitted to the component, or what it waits for.
pub(crate) enum Begun {
    /// The request may go, and nobody waits for it.
    Alone,
    /// The request may go, and others may wait for this.
    Leads(Arc<Flight>),
    /// Another request is in flight.
    Follows(Arc<Flight>),
}

#[derive(Default)]
pub(crate) struct Shard {
    resources: HashTable<Resource>,
    queues: Queues,
    next_id: u64,
    in_progress: HashMap<u64, InProgress>,
    uncollapsible: HashMap<u64, Instant>,
}

impl Shard {
    /// The newest response for a request with these headers. Responses whose request began before the invalidation number
    /// `epoch` are removed, and returned in `removed`.
    pub(crate) fn find(
        &mut self,
        hash: u64,
        address: &Address<'_>,
        request: &HeaderMap,
        epoch: u64,
        removed: &mut Vec<Arc<Entry>>,
    ) -> Found {
        let Some(resource) = self.resources.find_mut(hash, |known| known.key.address() == *address) else {
            return Found::Nothing;
        };
        resource.visits = resource.visits.saturating_add(1).min(MAX_VISITS);
        let is_valid = |entry: &Arc<Entry>| entry.head.begun >= epoch && !entry.is_invalidated();
        if !resource.variants.iter().all(is_valid) {
            removed.extend(self.retain_variants(hash, address, is_valid));
            return self.find(hash, address, request, epoch, removed);
        }
        match resource.variants.iter().rev().find(|entry| entry.head.selection.matches(request)) {
            Some(entry) => Found::Entry(entry.clone()),
            None => resource.variants.last().map_or(Found::Nothing, |newest| Found::Others(newest.clone())),
        }
    }

    /// Registers a request to the component. With `collapses`, requests with the same selecting fields wait for one another.
    pub(crate) fn begin(&mut self, hash: u64, selected: u64, collapses: bool, now: Instant) -> Begun {
        let collapses = collapses && self.uncollapsible.get(&hash).is_none_or(|until| *until <= now);
        let in_progress = self.in_progress.entry(hash).or_default();
        if collapses
            && let Some((_, flight)) =
                in_progress.leaders.iter().find(|(leader, flight)| *leader == selected && !flight.is_slow())
        {
            return Begun::Follows(flight.clone());
        }
        in_progress.requests += 1;
        if !collapses {
            return Begun::Alone;
        }
        let flight = Flight::new();
        in_progress.leaders.push((selected, flight.clone()));
        Begun::Leads(flight)
    }

    /// Ends a request that [`Self::begin`] has registered.
    pub(crate) fn end(&mut self, hash: u64, flight: Option<&Arc<Flight>>) {
        let Some(in_progress) = self.in_progress.get_mut(&hash) else { return };
        if let Some(flight) = flight {
            in_progress.leaders.retain(|(_, leader)| !Arc::ptr_eq(leader, flight));
        }
        in_progress.requests = in_progress.requests.saturating_sub(1);
        if in_progress.requests == 0 {
            self.in_progress.remove(&hash);
        }
    }

    /// Requests for this address do not wait for one another for a while.
    pub(crate) fn do_not_collapse(&mut self, hash: u64, now: Instant) {
        if self.uncollapsible.len() >= MAX_UNCOLLAPSIBLE {
            self.uncollapsible.retain(|_, until| *until > now);
        }
        if self.uncollapsible.len() >= MAX_UNCOLLAPSIBLE {
            self.uncollapsible.clear();
        }
        self.uncollapsible.insert(hash, now + UNCOLLAPSIBLE_FOR);
    }

    /// Stores a response in place of the one for the same requests. Refused if the address was invalidated after the
    /// request for the response began. Returns what was replaced.
    pub(crate) fn store(
        &mut self,
        hash: u64,
        address: &Address<'_>,
        entry: Arc<Entry>,
    ) -> Result<Vec<Arc<Entry>>, Arc<Entry>> {
        let invalidated = self.in_progress.get(&hash).map_or(0, |in_progress| in_progress.invalidated);
        if entry.head.begun < invalidated || entry.is_invalidated() {
            return Err(entry);
        }
        let bytes = entry.bytes();
        let Some(resource) = self.resources.find_mut(hash, |known| known.key.address() == *address) else {
            let id = self.next_id;
            self.next_id += 1;
            let place = self.queues.push((hash, id), bytes);
            let resource =
                Resource { key: address.to_key(), hash, id, visits: 0, place, variants: vec![entry] };
            self.resources.insert_unique(hash, resource, |known| known.hash);
            return Ok(Vec::new());
        };
        let before = resource.bytes();
        let mut removed: Vec<_> =
            resource.variants.extract_if(.., |known| known.head.selection == entry.head.selection).collect();
        if resource.variants.len() == MAX_VARIANTS {
            removed.push(resource.variants.remove(0));
        }
        resource.variants.push(entry);
        let after = resource.bytes();
        self.queues.resize(resource.place, before, after);
        Ok(removed)
    }

    /// Replaces `stale` by an entry, if `stale` is still stored.
    pub(crate) fn replace(
        &mut self,
        hash: u64,
        address: &Address<'_>,
        stale: &Arc<Entry>,
        entry: &Arc<Entry>,
    ) -> bool {
        let Some(resource) = self.resources.find_mut(hash, |known| known.key.address() == *address) else {
            return false;
        };
        let before = resource.bytes();
        let Some(place) = resource.variants.iter_mut().find(|known| Arc::ptr_eq(known, stale)) else {
            return false;
        };
        *place = entry.clone();
        let after = resource.bytes();
        self.queues.resize(resource.place, before, after);
        true
    }

    /// Removes everything for this address. Responses to requests that have begun before the invalidation number `count` are
    /// not stored.
    pub(crate) fn invalidate(&mut self, hash: u64, address: &Address<'_>, count: u64) -> Vec<Arc<Entry>> {
        if let Some(in_progress) = self.in_progress.get_mut(&hash) {
            in_progress.invalidated = in_progress.invalidated.max(count);
        }
        self.retain_variants(hash, address, |_| false)
    }

    /// Removes the variants for an address that `keeps` does not keep.
    pub(crate) fn retain_variants(
        &mut self,
        hash: u64,
        address: &Address<'_>,
        keeps: impl Fn(&Arc<Entry>) -> bool,
    ) -> Vec<Arc<Entry>> {
        let Ok(mut slot) = self.resources.find_entry(hash, |known| known.key.address() == *address) else {
            return Vec::new();
        };
        let resource = slot.get_mut();
        let before = resource.bytes();
        let removed = resource.variants.extract_if(.., |entry| !keeps(entry)).collect();
        let (place, after) = (resource.place, resource.bytes());
        if resource.variants.is_empty() {
            slot.remove();
        }
        self.queues.resize(place, before, after);
        self.tidy();
        removed
    }

    /// Removes all entries that `keeps` does not keep.
    pub(crate) fn retain(&mut self, keeps: impl Fn(&Key, &Arc<Entry>) -> bool) -> Vec<Arc<Entry>> {
        let mut removed = Vec::new();
        let queues = &mut self.queues;
        self.resources.retain(|resource| {
            let before = resource.bytes();
            let key = &resource.key;
            removed.extend(resource.variants.extract_if(.., |entry| !keeps(key, entry)));
            queues.resize(resource.place, before, resource.bytes());
            !resource.variants.is_empty()
        });
        self.tidy();
        removed
    }

    /// Whether a resource that was not visited again may leave.
    pub(crate) fn has_unvisited(&self) -> bool {
        self.queues.has_much_small()
    }

    /// Removes one resource. Returns its entries, none if the shard is empty.
    pub(crate) fn evict(&mut self) -> Vec<Arc<Entry>> {
        loop {
            let state = |(hash, id)| {
                let resource = self.resources.find(hash, |known| known.id == id)?;
                Some(eviction::State { visits: resource.visits, bytes: resource.bytes() })
            };
            match self.queues.step(state) {
                None => return Vec::new(),
                Some(Step::Keep((hash, id), place, visits)) => {
                    if let Some(resource) = self.resources.find_mut(hash, |known| known.id == id) {
                        (resource.place, resource.visits) = (place, visits);
                    }
                }
                Some(Step::Evict((hash, id))) => {
                    if let Ok(slot) = self.resources.find_entry(hash, |known| known.id == id) {
                        return slot.remove().0.variants;
                    }
                }
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn in_progress(&self) -> (usize, usize) {
        (self.in_progress.len(), self.uncollapsible.len())
    }

    /// The number of stored responses, and the bytes that they take.
    pub(crate) fn size(&self) -> (usize, usize) {
        let sizes = self.resources.iter().map(|resource| (resource.variants.len(), resource.bytes()));
        sizes.fold((0, 0), |(entries, bytes), (more, size)| (entries + more, bytes + size))
    }

    fn tidy(&mut self) {
        let resources = &self.resources;
        let is_live = |(hash, id)| resources.find(hash, |known: &Resource| known.id == id).is_some();
        self.queues.tidy(resources.len(), is_live);
    }
}

impl Resource {
    fn bytes(&self) -> usize {
        self.variants.iter().map(|entry| entry.bytes()).sum()
    }
}
