//! The limit of requests to GitHub in flight at once, over all instances that share a store.
//!
//! There are `limit` slots. The process that increments a slot's counter to 1 holds the slot, and deletes the counter
//! when it releases the slot. The key of a counter contains the clock period in which the slot was taken, and a counter
//! of the previous period also counts. So a process that dies while it holds a slot blocks the slot for at most two
//! periods.

use std::cell::Cell;
use std::time::Duration;

use crate::ports::{Clock, Random, Store, StoreError};

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
    /// How many other permits were held when this one was acquired, as far as this instance or the store knows.
    pub others: u32,
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
                if let Some((key, others)) = take(platform, store, limit, period).await? {
                    permit.key = Some(key);
                    permit.others = others;
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
        let others = self.held.replace(self.held.get() + 1);
        Permit { permits: self, key: None, others }
    }
}

/// Tries to take one of the slots that look free, chosen at random. Returns the key of its counter, and how many slots were
/// taken before.
async fn take<S: Store>(
    platform: &(impl Clock + Random),
    store: &S,
    limit: u32,
    period: Duration,
) -> Result<Option<(String, u32)>, StoreError> {
    let period = platform.system().as_millis() / period.as_millis().max(1);
    let key = |slot: u32, period: u128| format!("permit:{slot}:{period}");
    let keys: Vec<String> =
        (0..limit).flat_map(|slot| [key(slot, period), key(slot, period.saturating_sub(1))]).collect();
    let taken = store.get_many(&keys).await?;
    let is_taken = |key: &str| taken.iter().any(|(name, value)| value.is_some() && name == key);
    let mut free = keys.chunks_exact(2).filter(|pair| !pair.iter().any(|key| is_taken(key)));
    let count = free.clone().count();
    if count == 0 {
        return Ok(None);
    }
    let pick = usize::try_from(platform.random() % u64::try_from(count).unwrap_or(1)).unwrap_or(0);
    let Some(key) = free.nth(pick).and_then(|pair| pair.first()) else { return Ok(None) };
    let others = limit.saturating_sub(u32::try_from(count).unwrap_or(limit));
    Ok((store.increment(key, 1).await? == 1).then(|| (key.clone(), others)))
}

impl Permit<'_> {
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
