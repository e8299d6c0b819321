use super::Error;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use wasi_http_host_core::histogram::{BUCKETS, Histogram, HistogramSnapshot};

/// One call in this many is timed: reading the clock twice costs as much as the look-up that it would time.
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

/// A function of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the interface documents them")]
pub enum Operation {
    Open,
    Get,
    Set,
    Delete,
    Exists,
    ListKeys,
    Increment,
    CasNew,
    Swap,
    GetMany,
    SetMany,
    DeleteMany,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Open,
        Self::Get,
        Self::Set,
        Self::Delete,
        Self::Exists,
        Self::ListKeys,
        Self::Increment,
        Self::CasNew,
        Self::Swap,
        Self::GetMany,
        Self::SetMany,
        Self::DeleteMany,
    ];

    /// Its label value in metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Get => "get",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Exists => "exists",
            Self::ListKeys => "list-keys",
            Self::Increment => "increment",
            Self::CasNew => "cas-new",
            Self::Swap => "swap",
            Self::GetMany => "get-many",
            Self::SetMany => "set-many",
            Self::DeleteMany => "delete-many",
        }
    }
}

/// Counts and latencies by operation. One a core keeps its cache lines uncontended; readers add them up.
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
    /// Which.
    pub operation: Operation,
    /// Calls, failed ones included.
    pub calls: u64,
    /// Calls that the guest got an error from (a lost compare-and-swap is none).
    pub errors: u64,
    /// Of every [`LATENCY_SAMPLE`]th call; of each where a store may have to wait.
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

impl Stats {
    /// Runs `call` and counts it.
    ///
    /// # Errors
    /// As `call`.
    pub fn observe<R>(
        &self,
        operation: Operation,
        call: impl FnOnce() -> Result<R, Error>,
    ) -> Result<R, Error> {
        let stats = self.of(operation);
        let timed = stats.calls.fetch_add(1, Relaxed).is_multiple_of(LATENCY_SAMPLE).then(Instant::now);
        let result = call();
        stats.end(timed, &result);
        result
    }

    /// The same for a call that may have to wait; such calls are few enough for each to be timed.
    ///
    /// # Errors
    /// As `call`.
    pub async fn observe_waiting<R>(
        &self,
        operation: Operation,
        call: impl Future<Output = Result<R, Error>>,
    ) -> Result<R, Error> {
        let stats = self.of(operation);
        stats.calls.fetch_add(1, Relaxed);
        let start = Instant::now();
        let result = call.await;
        stats.end(Some(start), &result);
        result
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

impl PerOperation {
    fn end<R>(&self, start: Option<Instant>, result: &Result<R, Error>) {
        if result.is_err() {
            self.errors.fetch_add(1, Relaxed);
        }
        if let Some(start) = start {
            self.latency.observe(start.elapsed());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_counts_for_itself() {
        let stats = Stats::default();
        for operation in Operation::ALL {
            let _ = stats.observe(operation, || Ok(()));
        }
        let _ = stats.observe(Operation::Swap, || Err::<(), _>(Error::NoSuchStore));
        for seen in stats.snapshot() {
            let swap = seen.operation == Operation::Swap;
            assert_eq!((seen.calls, seen.errors), if swap { (2, 1) } else { (1, 0) }, "{:?}", seen.operation);
            assert_eq!(seen.latency.count, 1, "the first call is timed");
        }
    }
}
