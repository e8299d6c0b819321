//! Counts that are not written yet.

use std::collections::BTreeMap;

use crate::metrics::{BOUNDS, Counter, STATUSES};
use crate::request::route::{Endpoint, Method};

/// Counts by counter. Each request counts in several counters, so these are found by their position.
#[derive(Debug, Default)]
pub(crate) struct PendingCounts {
    /// By endpoint and method: see [`position`]. Empty until the first request.
    requests: Vec<Option<Box<RequestCounts>>>,
    hits: u64,
    others: BTreeMap<Counter, u64>,
}

/// The counts of an endpoint and method.
#[derive(Debug, Default)]
struct RequestCounts {
    /// By the position in [`STATUSES`].
    statuses: [u64; STATUSES.len()],
    buckets: [u64; BOUNDS.len() + 1],
    micros: u64,
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

    /// The place of a request's counter; `None` if the counter is another one.
    fn slot(&mut self, counter: Counter) -> Option<&mut u64> {
        match counter {
            Counter::Requests(endpoint, method, status) => {
                let status = STATUSES.iter().position(|known| *known == status)?;
                self.of(endpoint, method)?.statuses.get_mut(status)
            }
            Counter::Bucket(endpoint, method, bucket) => {
                self.of(endpoint, method)?.buckets.get_mut(usize::from(bucket))
            }
            Counter::Micros(endpoint, method) => Some(&mut self.of(endpoint, method)?.micros),
            Counter::Hits => Some(&mut self.hits),
            _ => None,
        }
    }

    fn of(&mut self, endpoint: Endpoint, method: Method) -> Option<&mut RequestCounts> {
        if self.requests.is_empty() {
            self.requests.resize_with(Endpoint::ALL.len() * Method::ALL.len(), || None);
        }
        let slot = self.requests.get_mut(position(endpoint, method))?;
        Some(slot.get_or_insert_default())
    }

    /// Takes all counts that are not 0, and the time of all requests, which may be 0: without its key, nobody looks for the other
    /// keys of an endpoint and method (see [`Counter::roots`]).
    pub(crate) fn take(&mut self) -> Vec<(Counter, u64)> {
        let mut taken = Vec::new();
        for endpoint in Endpoint::ALL {
            for method in Method::ALL {
                let counts = self.requests.get_mut(position(endpoint, method)).and_then(Option::as_mut);
                let Some(counts) = counts.map(|counts| std::mem::take(&mut **counts)) else { continue };
                let statuses = STATUSES.into_iter().map(|status| Counter::Requests(endpoint, method, status));
                let buckets = (0..).map(|bucket| Counter::Bucket(endpoint, method, bucket));
                let counted = statuses.zip(counts.statuses).chain(buckets.zip(counts.buckets));
                let before = taken.len();
                taken.extend(counted.filter(|(_, count)| *count != 0));
                if taken.len() > before || counts.micros != 0 {
                    taken.push((Counter::Micros(endpoint, method), counts.micros));
                }
            }
        }
        let hits = std::mem::take(&mut self.hits);
        taken.extend((hits != 0).then_some((Counter::Hits, hits)));
        taken.extend(std::mem::take(&mut self.others));
        taken
    }
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
