//! Places for open connections: one pool of the process, in which each component has a share.
//!
//! - The process never has more connections than places. An idle connection keeps its place, so that the next request
//!   to the same server need not connect again.
//! - Half of the places are divided evenly among the components: the share of each. Any component may use the others.
//!   A component can use its share whatever the other components do.
//! - A connection that must wait for a place makes an idle connection close, also one of another thread. The idle
//!   connection belongs to the same component, or to one that uses more than its share.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::Waker,
    time::{Duration, Instant},
};

use futures::task::AtomicWaker;
use tokio::sync::oneshot;
use wasi_http_host_core::{Counter, Gauge, lock};

/// How long a new connection is kept for the request that it was opened for.
const NEW: Duration = Duration::from_secs(1);

/// The places of the process.
#[derive(Debug)]
pub(super) struct Places {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Number of places in use.
    taken: usize,
    /// Number of the next share or connection.
    next: u64,
    /// Places in use, for each component.
    shares: BTreeMap<u64, usize>,
    /// The open connections, each with its component.
    connections: BTreeMap<u64, (u64, Arc<ConnectionUse>)>,
    /// Connections that wait for a place, in the order of arrival.
    waiting: VecDeque<(Arc<Share>, oneshot::Sender<Place>)>,
}

/// The share of one component.
#[derive(Debug)]
pub(super) struct Share {
    id: u64,
    places: Weak<Places>,
    /// Whether idle connections may close for others.
    gives: bool,
    /// Number of open connections.
    pub(super) open: Gauge,
    /// Number of idle connections that were closed because another connection needed a place.
    pub(super) reclaimed: Counter,
}

/// A place of an open connection. Dropping it gives the place to the next connection that waits.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    share: Arc<Share>,
    id: u64,
    /// Who uses the connection.
    pub(super) connection: Arc<ConnectionUse>,
}

/// Who uses a connection, and whether it must close.
#[derive(Debug, Default)]
pub(super) struct ConnectionUse {
    state: Mutex<Use>,
    /// The connection must close if it is idle.
    unwanted: AtomicBool,
    /// Wakes the task that reads from the connection.
    reader: AtomicWaker,
}

#[derive(Debug, Default)]
struct Use {
    /// Number of requests on the connection.
    requests: usize,
    /// From when on the connection counts as idle. `None` while it is opened or used.
    idle_from: Option<Instant>,
}

/// A request on a connection. The connection does not close for others meanwhile.
#[derive(Debug)]
pub(super) struct InUse {
    connection: Arc<ConnectionUse>,
    places: Weak<Places>,
}

/// What a request needs to know about its connection.
#[derive(Debug, Clone)]
pub(super) struct ConnectionHandle {
    connection: Arc<ConnectionUse>,
    places: Weak<Places>,
}

impl Places {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, state: Mutex::default() })
    }

    /// The share of another component.
    pub(super) fn share(self: &Arc<Self>) -> Arc<Share> {
        self.add(true)
    }

    /// A share for the host's own requests. Their connections never close for others.
    pub(super) fn host_share(self: &Arc<Self>) -> Arc<Share> {
        self.add(false)
    }

    fn add(self: &Arc<Self>, gives: bool) -> Arc<Share> {
        let mut state = lock(&self.state);
        state.next += 1;
        let id = state.next;
        state.shares.insert(id, 0);
        let places = Arc::downgrade(self);
        Arc::new(Share { id, places, gives, open: Gauge::default(), reclaimed: Counter::default() })
    }

    /// Waits for a place.
    pub(super) async fn take(self: &Arc<Self>, share: &Arc<Share>) -> Place {
        loop {
            let waiting = {
                let mut state = lock(&self.state);
                if self.may_take(&state, share.id) {
                    return self.place(&mut state, share);
                }
                let (sender, receiver) = oneshot::channel();
                state.waiting.push_back((share.clone(), sender));
                self.reclaim(&state);
                receiver
            };
            // The sender is dropped only with the last reference to the places, which this function has.
            if let Ok(place) = waiting.await {
                return place;
            }
        }
    }

    /// The part of the places that belongs to each component alone.
    fn reserve(&self, state: &State) -> usize {
        self.max / 2 / state.shares.len().max(1)
    }

    /// Whether a component may take a place now.
    fn may_take(&self, state: &State, share: u64) -> bool {
        let reserve = self.reserve(state);
        let own = state.shares.get(&share).copied().unwrap_or_default();
        let kept: usize = (state.shares.iter())
            .filter(|(id, _)| **id != share)
            .map(|(_, taken)| reserve.saturating_sub(*taken))
            .sum();
        state.taken < self.max && (own < reserve || state.taken.saturating_add(kept) < self.max)
    }

    fn place(self: &Arc<Self>, state: &mut State, share: &Arc<Share>) -> Place {
        state.taken += 1;
        state.next += 1;
        *state.shares.entry(share.id).or_default() += 1;
        let connection = Arc::<ConnectionUse>::default();
        state.connections.insert(state.next, (share.id, connection.clone()));
        share.open.inc();
        Place { places: self.clone(), share: share.clone(), id: state.next, connection }
    }

    /// Makes idle connections close for the connections that wait.
    fn reclaim(&self, state: &State) {
        let closing = state.connections.values().filter(|(_, used)| used.unwanted.load(Relaxed)).count();
        let reserve = self.reserve(state);
        let now = Instant::now();
        for (waiting, _) in state.waiting.iter().skip(closing) {
            let may_close = |share: u64| {
                share == waiting.id || state.shares.get(&share).is_some_and(|taken| *taken > reserve)
            };
            let idle = state.connections.values().filter(|(share, _)| may_close(*share));
            let longest = idle
                .filter_map(|(_, used)| used.idle_from(now).map(|since| (since, used)))
                .min_by_key(|(since, _)| *since);
            let Some((_, used)) = longest else { return };
            used.unwanted.store(true, Relaxed);
            used.reader.wake();
        }
    }

    /// A connection has become idle, or is used again.
    fn used_changed(&self) {
        let state = lock(&self.state);
        if !state.waiting.is_empty() {
            self.reclaim(&state);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut granted = Vec::new();
        let mut state = lock(&self.places.state);
        state.taken -= 1;
        state.connections.remove(&self.id);
        if let Some(taken) = state.shares.get_mut(&self.share.id) {
            *taken -= 1;
        }
        self.share.open.dec();
        if self.connection.unwanted.load(Relaxed) {
            self.share.reclaimed.inc();
        }
        state.waiting.retain(|(_, sender)| !sender.is_closed());
        let next =
            |state: &State| state.waiting.iter().position(|(share, _)| self.places.may_take(state, share.id));
        while let Some((share, sender)) = next(&state).and_then(|at| state.waiting.remove(at)) {
            granted.push((sender, self.places.place(&mut state, &share)));
        }
        drop(state);
        for (sender, place) in granted {
            // Who waited has given up just now. The place is dropped, and goes to the next one.
            drop(sender.send(place));
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        if let Some(places) = self.places.upgrade() {
            lock(&places.state).shares.remove(&self.id);
        }
    }
}

impl Place {
    /// The connection is open, for the request that it was opened for.
    pub(super) fn opened(&self) -> ConnectionHandle {
        if self.share.gives {
            lock(&self.connection.state).idle_from = Some(Instant::now() + NEW);
        }
        ConnectionHandle { connection: self.connection.clone(), places: Arc::downgrade(&self.places) }
    }
}

impl ConnectionUse {
    /// Since when the connection is idle, if it is and if it is not closing already.
    fn idle_from(&self, now: Instant) -> Option<Instant> {
        if self.unwanted.load(Relaxed) {
            return None;
        }
        lock(&self.state).idle_from.filter(|since| *since <= now)
    }

    /// Whether the connection must close now. If not, the task of `waker` is woken when it must.
    pub(super) fn must_close(&self, waker: &Waker) -> bool {
        self.reader.register(waker);
        self.unwanted.load(Relaxed) && lock(&self.state).requests == 0
    }
}

impl ConnectionHandle {
    /// A request begins on the connection.
    pub(super) fn begin(self) -> InUse {
        let mut state = lock(&self.connection.state);
        state.requests += 1;
        state.idle_from = None;
        drop(state);
        // Another connection must close in the place of this one.
        if self.connection.unwanted.swap(false, Relaxed)
            && let Some(places) = self.places.upgrade()
        {
            places.used_changed();
        }
        InUse { connection: self.connection, places: self.places }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut state = lock(&self.connection.state);
        state.requests -= 1;
        if state.requests == 0 {
            state.idle_from = Some(Instant::now());
            drop(state);
            if let Some(places) = self.places.upgrade() {
                places.used_changed();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    /// As many places as can be taken at once.
    fn take_all(places: &Arc<Places>, share: &Arc<Share>) -> Vec<Place> {
        std::iter::from_fn(|| places.take(share).now_or_never()).collect()
    }

    #[test]
    fn a_component_has_its_share_whatever_the_others_take() {
        let places = Places::new(16);
        let [greedy, other, another, late] = [(); 4].map(|()| places.share());
        // Of 16 places, 8 are divided among four components.
        let held = take_all(&places, &greedy);
        assert_eq!(held.len(), 16 - 3 * 2);
        let others = [&other, &another].map(|share| take_all(&places, share));
        assert_eq!(others.each_ref().map(Vec::len), [2, 2]);
        let last = take_all(&places, &late);
        assert_eq!(last.len(), 2);
        assert_eq!((greedy.open.get(), late.open.get()), (10, 2));
        drop((held, others));
        assert_eq!(take_all(&places, &late).len(), 16 - 3 * 2 - 2);
        drop(last);
        assert_eq!((greedy.open.get(), late.open.get()), (0, 0));
    }

    #[test]
    fn a_place_goes_to_who_waits_first_and_may_have_it() {
        let places = Places::new(4);
        let [greedy, other] = [(); 2].map(|()| places.share());
        let mut held = take_all(&places, &greedy);
        assert_eq!(held.len(), 3);
        let mut others = take_all(&places, &other);
        let [mut first, mut given_up, mut second] =
            [&greedy, &other, &other].map(|share| Box::pin(places.take(share)));
        assert!(
            [&mut first, &mut given_up, &mut second].into_iter().all(|take| take.now_or_never().is_none())
        );
        drop(given_up);
        // The last place is the other component's share.
        others.clear();
        assert!((&mut first).now_or_never().is_none());
        let place = (&mut second).now_or_never().unwrap();
        held.pop();
        assert!((&mut first).now_or_never().is_some());
        drop(place);
    }

    #[test]
    fn idle_connections_close_for_others_and_used_ones_and_the_hosts_own_do_not() {
        let places = Places::new(3);
        let [share, host] = [places.share(), places.host_share()];
        let waker = Waker::noop();
        let own = places.take(&host).now_or_never().unwrap();
        own.opened();
        let [used, idle] = [(); 2].map(|()| places.take(&share).now_or_never().unwrap());
        let handles = [&used, &idle].map(Place::opened);
        let [in_use, ended] = handles.map(ConnectionHandle::begin);
        let mut waiting = Box::pin(places.take(&share));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(!used.connection.must_close(waker) && !idle.connection.must_close(waker));
        drop(ended);
        assert!(!used.connection.must_close(waker) && idle.connection.must_close(waker));
        // A request takes the connection before it closes. Then the other one must close when it is idle.
        let again = idle.opened().begin();
        assert!(!idle.connection.must_close(waker));
        drop(in_use);
        assert!(used.connection.must_close(waker) && !own.connection.must_close(waker));
        drop(used);
        assert!((&mut waiting).now_or_never().is_some());
        assert_eq!(share.reclaimed.get(), 1);
        drop(again);
    }

    #[test]
    fn a_share_is_not_taken_by_closing_what_others_keep_within_theirs() {
        let places = Places::new(8);
        let [greedy, modest] = [(); 2].map(|()| places.share());
        let kept = places.take(&modest).now_or_never().unwrap();
        drop(kept.opened().begin());
        let held = take_all(&places, &greedy);
        let mut waiting = Box::pin(places.take(&greedy));
        assert!((&mut waiting).now_or_never().is_none());
        assert!(!kept.connection.must_close(Waker::noop()));
        drop(held);
    }
}
