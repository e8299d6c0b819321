//! Counts that are not written yet.

use std::collections::BTreeMap;

use crate::metrics::{BOUNDS, Counter, STATUSES};
use crate::request::route::{Endpoint, Method};

/// How many counters an endpoint and method have: one for each status, one for each bucket, and the sum of durations.
const COUNTERS: usize = STATUSES.len() + BOUNDS.len() + 2;
/// The place of the first bucket.
const BUCKETS: usize = STATUSES.len();
/// The place of the sum of durations.
const MICROS: usize = COUNTERS - 1;

/// Counts by counter. Each request counts in several counters, so these are found by their place.
#[derive(Debug, Default)]
pub(crate) struct PendingCounts {
    /// By endpoint and method: see [`position`]. Empty until the first request.
    requests: Vec<Option<Box<[u64; COUNTERS]>>>,
    hits: u64,
    others: BTreeMap<Counter, u64>,
}

impl PendingCounts {
    /// Adds `count` to a counter. Saturates.
    pub(crate) fn add(&mut self, counter: Counter, count: u64) {
        let sum = match self.slot(counter) {
            Some(slot) => slot,
            None => self.others.entry(counter).or_default(),
        };
        *sum = sum.saturating_add(count);
    }

    /// The place of a counter that has one.
    fn slot(&mut self, counter: Counter) -> Option<&mut u64> {
        let (endpoint, method, place) = match counter {
            Counter::Requests(endpoint, method, status) => {
                (endpoint, method, STATUSES.iter().position(|known| *known == status)?)
            }
            Counter::Bucket(endpoint, method, bucket) => (endpoint, method, BUCKETS + usize::from(bucket)),
            Counter::Micros(endpoint, method) => (endpoint, method, MICROS),
            Counter::Hits => return Some(&mut self.hits),
            _ => return None,
        };
        if self.requests.is_empty() {
            self.requests.resize_with(Endpoint::ALL.len() * Method::ALL.len(), || None);
        }
        let counts = self.requests.get_mut(position(endpoint, method))?;
        counts.get_or_insert_with(|| Box::new([0; COUNTERS])).get_mut(place)
    }

    /// Takes all counts that are not 0, and the time of all requests, which may be 0: without its key, nobody looks for the other
    /// keys of an endpoint and method (see [`Counter::roots`]).
    pub(crate) fn take(&mut self) -> Vec<(Counter, u64)> {
        let mut taken: Vec<_> = std::mem::take(&mut self.others).into_iter().collect();
        if self.hits != 0 {
            taken.push((Counter::Hits, std::mem::take(&mut self.hits)));
        }
        for endpoint in Endpoint::ALL {
            for method in Method::ALL {
                let Some(Some(counts)) = self.requests.get_mut(position(endpoint, method)) else { continue };
                let before = taken.len();
                for (place, count) in counts.iter_mut().enumerate() {
                    let is_needed = *count != 0 || place == MICROS && taken.len() > before;
                    if let Some(counter) = counter(endpoint, method, place).filter(|_| is_needed) {
                        taken.push((counter, std::mem::take(count)));
                    }
                }
            }
        }
        taken
    }
}

/// The counter of an endpoint and method at a place.
fn counter(endpoint: Endpoint, method: Method, place: usize) -> Option<Counter> {
    Some(match (place, place.checked_sub(BUCKETS)) {
        (MICROS, _) => Counter::Micros(endpoint, method),
        (_, Some(bucket)) => Counter::Bucket(endpoint, method, u8::try_from(bucket).ok()?),
        (status, None) => Counter::Requests(endpoint, method, *STATUSES.get(status)?),
    })
}

/// The position of an endpoint and method in [`PendingCounts::requests`].
fn position(endpoint: Endpoint, method: Method) -> usize {
    endpoint as usize * Method::ALL.len() + method as usize
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_counter_has_a_place_of_its_own_and_is_taken_once() {
        let mut pending = PendingCounts::default();
        let counters: BTreeSet<Counter> = Counter::roots()
            .flat_map(|root| match root {
                Counter::Micros(endpoint, method) => {
                    Counter::details(endpoint, method).chain([root]).collect()
                }
                other => vec![other],
            })
            .collect();
        for (count, counter) in (1..).zip(&counters) {
            pending.add(*counter, count);
            pending.add(*counter, 1);
        }
        let taken: BTreeMap<Counter, u64> = pending.take().into_iter().collect();
        let expected: BTreeMap<Counter, u64> = counters.iter().copied().zip(2..).collect();
        assert_eq!(taken, expected);
        assert_eq!(pending.take(), []);
    }

    #[test]
    fn the_counters_of_a_request_are_all_taken_even_if_it_took_no_time() {
        let mut pending = PendingCounts::default();
        for duration in [Duration::ZERO, Duration::from_secs(99)] {
            let counted = Counter::of_request(Endpoint::Unmatched, Method::Other, 418, duration);
            counted.iter().for_each(|(counter, count)| pending.add(*counter, *count));
            assert_eq!(pending.take(), counted);
        }
        pending.add(Counter::Hits, u64::MAX);
        pending.add(Counter::Hits, 1);
        assert_eq!(pending.take(), [(Counter::Hits, u64::MAX)]);
    }
}
