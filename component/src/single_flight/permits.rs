//! How many questions GitHub is asked at once, by all instances that share a store.
//!
//! Of `limit` seats each is taken with the lease's means: whoever turns its counter to 1 has it, and deletes the
//! counter when it leaves. Counters carry the lap of the clock that they were taken in, and a seat also counts as
//! taken while the lap before has a counter: so a process that died with a seat blocks it for at most two laps.

use std::cell::Cell;
use std::time::Duration;

use crate::ports::{Clock, Random, Store, StoreError};

/// The pauses between two looks for a free seat.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// The seats, as seen from one instance.
#[derive(Debug, Default)]
pub struct Permits {
    /// How many this instance holds: no store needs to be asked when that is all of them.
    held: Cell<u32>,
}

/// The right to ask GitHub. To be given back with [`Permit::release`]; dropped, it lapses by itself.
#[derive(Debug)]
pub struct Permit<'a> {
    permits: &'a Permits,
    key: Option<String>,
}

impl Permits {
    /// Waits for a seat until `deadline` (monotonic). `lap` is longer than anybody keeps one. Without a store only
    /// this instance's own are counted.
    pub async fn acquire<S: Store>(
        &self,
        platform: &(impl Clock + Random),
        store: Option<&S>,
        limit: u32,
        lap: Duration,
        deadline: Duration,
    ) -> Result<Option<Permit<'_>>, StoreError> {
        let mut pause = FIRST_PAUSE;
        loop {
            if self.held.get() < limit {
                // Counted before the store is asked, so that others of this instance see it meanwhile.
                let mut permit = self.seat();
                let Some(store) = store else { return Ok(Some(permit)) };
                if let Some(key) = take(platform, store, limit, lap).await? {
                    permit.key = Some(key);
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

    fn seat(&self) -> Permit<'_> {
        self.held.set(self.held.get() + 1);
        Permit { permits: self, key: None }
    }
}

/// One try for one of the seats that look free.
async fn take<S: Store>(
    platform: &(impl Clock + Random),
    store: &S,
    limit: u32,
    lap: Duration,
) -> Result<Option<String>, StoreError> {
    let lap = platform.system().as_millis() / lap.as_millis().max(1);
    let key = |seat: u32, lap: u128| format!("permit:{seat}:{lap}");
    let keys: Vec<String> =
        (0..limit).flat_map(|seat| [key(seat, lap), key(seat, lap.saturating_sub(1))]).collect();
    let taken = store.get_many(&keys).await?;
    let is_taken = |key: &str| taken.iter().any(|(name, value)| value.is_some() && name == key);
    let mut free = keys.chunks_exact(2).filter(|pair| !pair.iter().any(|key| is_taken(key)));
    let count = free.clone().count();
    if count == 0 {
        return Ok(None);
    }
    let pick = usize::try_from(platform.random() % u64::try_from(count).unwrap_or(1)).unwrap_or(0);
    let Some(key) = free.nth(pick).and_then(|pair| pair.first()) else { return Ok(None) };
    Ok((store.increment(key, 1).await? == 1).then(|| key.clone()))
}

impl Permit<'_> {
    /// Gives the seat back.
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
