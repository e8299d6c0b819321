//! The cache of the process: its settings, its spaces, and what the operator can see and do.

use std::sync::{
    Arc, Mutex, Weak,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use wasi_http_host_core::{Exposition, MetricKind, lock};

use crate::{
    purge::Purge,
    space::Space,
    state::{Settings, State},
};

/// A cache for all components of a process.
pub struct Cache {
    pub(crate) state: Arc<State>,
    /// The spaces that exist, each with its component's name.
    spaces: Mutex<Vec<(Arc<str>, Weak<Space>)>>,
    next_space: AtomicU64,
}

/// The state of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// The number of stored responses.
    pub entries: usize,
    /// The bytes of the stored responses.
    pub bytes: usize,
    /// The bytes that count against the capacity: `bytes`, responses that are just being stored, and evicted responses
    /// that clients still read.
    pub used: usize,
    /// The capacity in bytes.
    pub capacity: usize,
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(settings: Settings) -> Arc<Self> {
        Arc::new(Self {
            state: State::new(settings),
            spaces: Mutex::default(),
            next_space: AtomicU64::new(0),
        })
    }

    /// A new space, for a component of this name. It begins empty, and ends with the last reference to it.
    #[must_use]
    pub fn space(&self, component: &str) -> Arc<Space> {
        let space = Arc::new(Space::new(self.state.clone(), self.next_space.fetch_add(1, Relaxed)));
        let mut spaces = lock(&self.spaces);
        spaces.retain(|(_, space)| space.strong_count() > 0);
        spaces.push((component.into(), Arc::downgrade(&space)));
        space
    }

    /// Removes stored responses. When this has returned, the cache uses no response whose request to the component began before.
    /// Returns `None` if there is no such component.
    pub fn purge(&self, purge: &Purge<'_>) -> Option<usize> {
        let spaces: Vec<_> = (lock(&self.spaces).iter())
            .filter(|(name, _)| purge.component.is_none_or(|component| **name == *component))
            .filter_map(|(_, space)| space.upgrade())
            .collect();
        if spaces.is_empty() && purge.component.is_some() {
            return None;
        }
        Some(spaces.iter().map(|space| space.purge(purge)).sum())
    }

    /// The state of the cache.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        let (entries, bytes) = self.state.store.size();
        let budget = self.state.store.budget();
        Statistics { entries, bytes, used: budget.used(), capacity: budget.capacity() }
    }

    /// Writes the metrics of the store.
    pub fn expose(&self, to: &mut Exposition) {
        let statistics = self.statistics();
        let prefix = "wasi_http_host_response_cache";
        to.gauge(&format!("{prefix}_entries"), "Stored responses.", statistics.entries);
        let name = format!("{prefix}_bytes");
        let help = "Bytes of stored responses (stored), of responses on their way into the store and of evicted responses that \
                    clients still read (other), and the most of all (capacity).";
        to.family(&name, MetricKind::Gauge, help);
        let other = statistics.used.saturating_sub(statistics.bytes);
        for (of, bytes) in [("stored", statistics.bytes), ("other", other), ("capacity", statistics.capacity)]
        {
            to.sample(&name, &[("of", of)], bytes);
        }
        let counts = &self.state.store.counts;
        let counter = |to: &mut Exposition, name: &str, help, count| {
            to.counter(&format!("{prefix}_{name}_total"), help, count);
        };
        counter(to, "stored", "Responses that were stored.", counts.stored.get());
        counter(to, "evicted", "Stored responses that left for others.", counts.evicted.get());
        let help =
            "Stored responses that were invalidated: by an unsafe request, by a group, or by the operator.";
        counter(to, "invalidated", help, counts.invalidated.get());
        let help = "Responses that could have been stored and were not: too large, incomplete, or invalidated meanwhile.";
        counter(to, "refused", help, counts.refused.get());
    }
}
