//! What is counted of operations.

use super::error::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use wasi_http_host_core::histogram::{BUCKETS, Histogram, HistogramSnapshot};
use wasi_http_host_core::labels;

/// One call in this many is timed: reading the clock twice takes as long as the look-up that it would time.
pub const LATENCY_SAMPLE: u64 = 32;

static LATENCY_BOUNDS: [Duration; BUCKETS] = [
    Duration::from_nanos(250),
    Duration::from_nanos(500),
    Duration::from_micros(1),
    Duration::from_micros(2),
    Duration::from_micros(5),
    Duration::from_micros(10),
    Duration::from_micros(50),
    Duration::from_micros(250),
    Duration::from_millis(1),
    Duration::from_millis(5),
    Duration::from_millis(25),
    Duration::from_millis(100),
];

labels! {
    /// A function of the interface.
    #[expect(missing_docs, reason = "the interface documents them")]
    Operation {
        Open = "open",
        Get = "get",
        Set = "set",
        Delete = "delete",
        Exists = "exists",
        ListKeys = "list-keys",
        Increment = "increment",
        CasNew = "cas-new",
        Swap = "swap",
        GetMany = "get-many",
        SetMany = "set-many",
        DeleteMany = "delete-many",
    }
}

/// Counts and durations by operation. Each thread has its own, so that no two threads write the same cache lines; readers add
/// them up.
#[derive(Debug)]
pub struct Stats {
    operations: [PerOperation; Operation::ALL.len()],
}

#[derive(Debug)]
struct PerOperation {
    calls: AtomicU64,
    errors: AtomicU64,
    latency: Histogram,
}

/// What was counted of one operation.
#[derive(Debug, Clone, PartialEq)]
pub struct OperationSnapshot {
    /// The operation.
    pub operation: Operation,
    /// Calls, failed ones included.
    pub calls: u64,
    /// Calls that the guest got an error from (a lost compare-and-swap is none).
    pub errors: u64,
    /// The durations of every [`LATENCY_SAMPLE`]th call, and of each call that had to wait.
    pub latency: HistogramSnapshot,
}

impl Default for Stats {
    fn default() -> Self {
        let operations = std::array::from_fn(|_| PerOperation {
            calls: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            latency: Histogram::new(&LATENCY_BOUNDS),
        });
        Self { operations }
    }
}

/// An operation that has begun and is counted.
#[derive(Debug)]
#[must_use = "an operation ends by Stats::end"]
pub struct Running {
    operation: Operation,
    start: Option<Instant>,
}

impl Running {
    /// The store answers later: few operations do, so each of them is timed.
    pub fn waits(&mut self) {
        self.start.get_or_insert_with(Instant::now);
    }
}

impl Stats {
    /// Counts an operation that begins.
    #[inline]
    pub fn begin(&self, operation: Operation) -> Running {
        let calls = self.of(operation).calls.fetch_add(1, Relaxed);
        Running { operation, start: calls.is_multiple_of(LATENCY_SAMPLE).then(Instant::now) }
    }

    /// Counts its end.
    #[inline]
    #[expect(clippy::needless_pass_by_value, reason = "an operation ends once")]
    pub fn end<R>(&self, running: Running, result: &Result<R, Error>) {
        let stats = self.of(running.operation);
        if result.is_err() {
            stats.errors.fetch_add(1, Relaxed);
        }
        if let Some(start) = running.start {
            stats.latency.observe(start.elapsed());
        }
    }

    fn of(&self, operation: Operation) -> &PerOperation {
        #[expect(clippy::indexing_slicing, reason = "one element for each variant, in their order")]
        &self.operations[operation as usize]
    }

    /// What was counted so far, by operation.
    pub fn snapshot(&self) -> impl Iterator<Item = OperationSnapshot> + '_ {
        Operation::ALL.into_iter().zip(&self.operations).map(|(operation, stats)| OperationSnapshot {
            operation,
            calls: stats.calls.load(Relaxed),
            errors: stats.errors.load(Relaxed),
            latency: stats.latency.snapshot(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_counts_for_itself() {
        let stats = Stats::default();
        for operation in Operation::ALL {
            stats.end(stats.begin(operation), &Ok(()));
        }
        stats.end(stats.begin(Operation::Swap), &Err::<(), _>(Error::NoSuchStore));
        for seen in stats.snapshot() {
            let swap = seen.operation == Operation::Swap;
            assert_eq!((seen.calls, seen.errors), if swap { (2, 1) } else { (1, 0) }, "{:?}", seen.operation);
            assert_eq!(seen.latency.count, 1, "the first call is timed");
        }
        let mut waiting = stats.begin(Operation::Get);
        waiting.waits();
        stats.end(waiting, &Ok(()));
        let get = stats.snapshot().find(|seen| seen.operation == Operation::Get).unwrap();
        assert_eq!(get.latency.count, 2, "so is each that waits");
    }
}
