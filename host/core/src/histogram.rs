//! A latency histogram. One observation costs two relaxed atomic additions, so requests can use it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Number of finite buckets. The implicit `+Inf` bucket counts longer durations.
pub const BUCKETS: usize = 12;

/// Counts of durations in buckets, which are in ascending order of their upper bounds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [Duration; BUCKETS],
    counts: [AtomicU64; BUCKETS],
    slower: AtomicU64,
    sum_nanos: AtomicU64,
}

/// The values of a [`Histogram`] at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct HistogramSnapshot {
    /// Upper bound in seconds, and the number of observations at or below the bound (cumulative, without `+Inf`).
    pub buckets: Vec<(f64, u64)>,
    /// Number of all observations.
    pub count: u64,
    /// Sum of all observations, in seconds.
    pub sum: f64,
}

impl Histogram {
    /// Creates an empty histogram. `bounds` must ascend.
    #[must_use]
    pub fn new(bounds: &'static [Duration; BUCKETS]) -> Self {
        Self { bounds, counts: Default::default(), slower: AtomicU64::new(0), sum_nanos: AtomicU64::new(0) }
    }

    /// Adds one observation to its bucket and to the sum.
    pub fn observe(&self, elapsed: Duration) {
        let bucket = self.bounds.iter().zip(&self.counts).find(|(bound, _)| elapsed <= **bound);
        bucket.map_or(&self.slower, |(_, count)| count).fetch_add(1, Relaxed);
        self.sum_nanos.fetch_add(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Reads the present values. The snapshot may or may not contain an observation that another thread makes
    /// meanwhile.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut count = 0;
        let buckets = self.bounds.iter().zip(&self.counts).map(|(bound, n)| {
            count += n.load(Relaxed);
            (bound.as_secs_f64(), count)
        });
        let buckets = buckets.collect();
        let sum = Duration::from_nanos(self.sum_nanos.load(Relaxed)).as_secs_f64();
        HistogramSnapshot { buckets, count: count + self.slower.load(Relaxed), sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static BOUNDS: [Duration; BUCKETS] = {
        let mut bounds = [Duration::ZERO; BUCKETS];
        let mut i = 0;
        while i < BUCKETS {
            bounds[i] = Duration::from_millis(1 << i);
            i += 1;
        }
        bounds
    };

    #[test]
    fn buckets_are_cumulative_and_a_bound_belongs_to_its_bucket() {
        let histogram = Histogram::new(&BOUNDS);
        for millis in [1, 2, 3, 1 << 20] {
            histogram.observe(Duration::from_millis(millis));
        }
        let snapshot = histogram.snapshot();
        assert_eq!(&snapshot.buckets[..3], &[(0.001, 1), (0.002, 2), (0.004, 3)]);
        assert_eq!(snapshot.buckets[BUCKETS - 1].1, 3);
        assert_eq!(snapshot.count, 4);
        assert!((snapshot.sum - 1048.582).abs() < 1e-9);
    }
}
