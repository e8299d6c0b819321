//! The limit of requests to GitHub in flight at once, over all instances that share a store.
//!
//! There are `limit` slots. The process that increments a slot's counter to 1 holds the slot, and deletes the counter
//! when it releases the slot. The key of a counter contains the clock period in which the slot was taken, and a counter
//! of the previous period also counts. So a process that dies while it holds a slot blocks the slot for at most two
//! periods.

use std::cell::Cell;
use std::time::Duration;

use crate::ports::{Clock, Random, Store, StoreError};
use crate::time::millis;

/// The first pause between two attempts. Each further pause is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The permits that one instance holds.
#[derive(Debug, Default)]
pub struct Permits {
    /// How many permits this instance holds. If it holds all of them, the store need not be asked.
    held: Cell<u32>,
}

/// The permission to send one request to GitHub. A permit that is dropped without [`Permit::release`] expires in the
/// store after two periods.
#[derive(Debug)]
pub struct Permit<'a> {
    permits: &'a Permits,
    /// The key of the slot's counter; `None` without a store.
    key: Option<String>,
}

impl Permits {
    /// Waits for a permit until `deadline` (monotonic); `None` if the deadline comes first. `period` must be longer than
    /// any permit is held. Without a store, only the permits of this instance count.
    pub async fn acquire<S: Store>(
        &self,
        platform: &(impl Clock + Random),
        store: Option<&S>,
        limit: u32,
        period: Duration,
        deadline: Duration,
    ) -> Result<Option<Permit<'_>>, StoreError> {
        let mut pause = FIRST_PAUSE;
        loop {
            if self.held.get() < limit {
                // Other requests of this instance must see the permit while this one waits for the store.
                let mut permit = self.permit();
                let Some(store) = store else { return Ok(Some(permit)) };
                permit.key = take(platform, store, limit, period).await?;
                if permit.key.is_some() {
                    return Ok(Some(permit));
                }
            }
            let left = deadline.saturating_sub(platform.monotonic());
            if left.is_zero() {
                return Ok(None);
            }
            platform.sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn permit(&self) -> Permit<'_> {
        self.held.set(self.held.get() + 1);
        Permit { permits: self, key: None }
    }
}

/// Tries to take one of the slots that look free, chosen at random. Returns the key of its counter.
async fn take<S: Store>(
    platform: &(impl Clock + Random),
    store: &S,
    limit: u32,
    period: Duration,
) -> Result<Option<String>, StoreError> {
    let mut free = free(platform, store, limit, period).await?;
    let count = u64::try_from(free.len()).unwrap_or_default();
    let Some(pick) = platform.random().checked_rem(count) else { return Ok(None) };
    let key = free.swap_remove(usize::try_from(pick).unwrap_or_default());
    Ok((store.increment(&key, 1).await? == 1).then_some(key))
}

/// The keys of the counters of the slots that look free.
async fn free<S: Store>(
    clock: &impl Clock,
    store: &S,
    limit: u32,
    period: Duration,
) -> Result<Vec<String>, StoreError> {
    let period = millis(clock.system()) / millis(period).max(1);
    let key = |slot: u32, period: u64| format!("permit:{slot}:{period}");
    let keys: Vec<String> =
        (0..limit).flat_map(|slot| [key(slot, period), key(slot, period.saturating_sub(1))]).collect();
    let taken = store.get_many(&keys).await?;
    let is_taken = |key: &str| taken.iter().any(|(name, value)| value.is_some() && name == key);
    let free = keys.chunks_exact(2).filter(|pair| !pair.iter().any(|key| is_taken(key)));
    Ok(free.filter_map(|pair| pair.first()).cloned().collect())
}

impl Permit<'_> {
    /// How many other permits are held now, as far as this instance or the store knows. The parameters are those of
    /// [`Permits::acquire`].
    pub async fn others<S: Store>(
        &self,
        clock: &impl Clock,
        store: Option<&S>,
        limit: u32,
        period: Duration,
    ) -> Result<u32, StoreError> {
        let held = match store {
            Some(store) => {
                let free = free(clock, store, limit, period).await?.len();
                limit.saturating_sub(u32::try_from(free).unwrap_or(u32::MAX))
            }
            None => self.permits.held.get(),
        };
        Ok(held.saturating_sub(1))
    }

    /// Releases the slot for other instances.
    pub async fn release<S: Store>(mut self, store: Option<&S>) -> Result<(), StoreError> {
        match (store, self.key.take()) {
            (Some(store), Some(key)) => store.delete(&key).await,
            _ => Ok(()),
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.permits.held.set(self.permits.held.get().saturating_sub(1));
    }
}
