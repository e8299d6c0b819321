//! The numbers of `/cache/stats`: hits and misses of one generation. They are in the cache's store, because
//! `DELETE /cache` resets them together with the entries. The number of pages is not counted: a store that evicts does
//! not tell (`cache::ring` looks at the slots).

use std::cell::RefCell;

use crate::cache::key::Generation;
use crate::ports::{Store, StoreError};

/// The most generations that have pending numbers. There is more than one only until the old generation's last
/// requests end.
const GENERATIONS: usize = 4;

/// The numbers of one generation, or a change of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests answered from the cache.
    pub hits: i64,
    /// Requests that had to ask GitHub, without those that bypass the cache.
    pub misses: i64,
}

impl Tally {
    /// One request answered from the cache.
    pub const HIT: Self = Self { hits: 1, misses: 0 };
    /// One request that had to ask GitHub.
    pub const MISS: Self = Self { hits: 0, misses: 1 };

    /// What the store has counted for `generation`. Counters that do not exist count as 0 and are not created.
    pub async fn read<S: Store>(store: &S, generation: Generation) -> Result<Self, StoreError> {
        let mut tally = Self::default();
        let keys = tally.parts().map(|(name, _)| key(generation, name));
        let existing = store.get_many(&keys).await?;
        for ((_, count), key) in tally.parts().into_iter().zip(&keys) {
            if existing.iter().any(|(name, value)| value.is_some() && name == key) {
                *count = store.increment(key, 0).await?.max(0);
            }
        }
        Ok(tally)
    }

    /// Removes the counters of `generation`, after `DELETE /cache` has ended it.
    pub async fn remove<S: Store>(store: &S, generation: Generation) -> Result<(), StoreError> {
        for (name, _) in Self::default().parts() {
            store.delete(&key(generation, name)).await?;
        }
        Ok(())
    }

    fn add(&mut self, other: Self) {
        self.hits = self.hits.saturating_add(other.hits);
        self.misses = self.misses.saturating_add(other.misses);
    }

    /// The counters with their names in keys.
    fn parts(&mut self) -> [(&'static str, &mut i64); 2] {
        [("hits", &mut self.hits), ("misses", &mut self.misses)]
    }
}

fn key(generation: Generation, name: &str) -> String {
    format!("{generation}:stats:{name}")
}

/// What an instance has counted and not written yet.
#[derive(Debug, Default)]
pub struct PendingTallies(RefCell<Vec<(Generation, Tally)>>);

impl PendingTallies {
    /// Adds `change` to the pending numbers of `generation`.
    pub fn add(&self, generation: Generation, change: Tally) {
        let mut pending = self.0.borrow_mut();
        match pending.iter_mut().find(|(of, _)| *of == generation) {
            Some((_, tally)) => tally.add(change),
            None => {
                if pending.len() >= GENERATIONS {
                    pending.remove(0);
                }
                pending.push((generation, change));
            }
        }
    }

    /// Whether there is nothing to flush.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Writes the numbers of generation `current` and drops those of other generations: a late flush must not bring
    /// back what `DELETE /cache` has reset. What the store does not accept stays pending.
    pub async fn flush<S: Store>(&self, store: &S, current: Generation) -> Result<(), StoreError> {
        let pending = self.0.take().into_iter().find(|(generation, _)| *generation == current);
        let Some((_, mut tally)) = pending else { return Ok(()) };
        let mut result = Ok(());
        // A store with a time to live forgets what nobody writes. There are misses as long as the cache is used.
        let renews_all = tally.misses != 0;
        for (name, count) in tally.parts() {
            if (*count != 0 || renews_all) && result.is_ok() {
                match store.increment(&key(current, name), *count).await {
                    Ok(_) => *count = 0,
                    Err(error) => result = Err(error),
                }
            }
        }
        if result.is_err() {
            self.add(current, tally);
        }
        result
    }
}
