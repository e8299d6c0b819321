//! The model of the lease: many processes with random schedules, slow stores and crashes. No process is suspended for
//! longer than its lease. So no two processes ask GitHub at once, and a process that dies is replaced.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use gists::cache::entry::{FailureRecord, Record};
use gists::cache::slot::Slot;
use gists::ports::{Clock, Store as _};
use gists::singleflight::lease::{Acquisition, Lease, LeaseLimits};
use proptest::prelude::*;

use crate::fake::{FakeStore, Handle, Rng};

const KEY: &str = "page";
const F: Duration = Duration::from_secs(10);

struct PausedClock(tokio::time::Instant);

impl Clock for PausedClock {
    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn system_at(&self, moment: Duration) -> Duration {
        moment
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        tokio::time::sleep(duration)
    }
}

/// What the model observes.
#[derive(Default)]
struct Watched {
    fetching: Cell<usize>,
    overlaps: Cell<usize>,
    fetches: Cell<usize>,
    answered: Cell<usize>,
    too_late: Cell<usize>,
    times: RefCell<Vec<(Duration, usize)>>,
}

/// The parameters of one run.
#[derive(Debug, Clone)]
struct Schedule {
    seed: u64,
    processes: u64,
    /// The most milliseconds that a store operation takes, before and again after it takes effect.
    latency: u64,
    /// The percentage of processes that die.
    dying: u64,
    /// The percentage of fetches that fail.
    failing: u64,
    /// The time within which the processes start, in milliseconds.
    spread: u64,
}

fn schedules() -> impl Strategy<Value = Schedule> {
    (any::<u64>(), 2u64..60, 0u64..1200, 0u64..60, 0u64..100, 0u64..20_000).prop_map(
        |(seed, processes, latency, dying, failing, spread)| Schedule {
            seed,
            processes,
            latency,
            dying,
            failing,
            spread,
        },
    )
}

/// Counts a fetch until it ends or its process dies.
struct Fetching<'a>(&'a Watched);

impl<'a> Fetching<'a> {
    fn start(watched: &'a Watched) -> Self {
        watched.fetches.set(watched.fetches.get() + 1);
        watched.fetching.set(watched.fetching.get() + 1);
        if watched.fetching.get() > 1 {
            watched.overlaps.set(watched.overlaps.get() + 1);
        }
        Self(watched)
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.0.fetching.set(self.0.fetching.get() - 1);
    }
}

/// One process: it needs the record, and fetches it if it gets the lease.
async fn process(
    schedule: &Schedule,
    store: Handle,
    clock: &PausedClock,
    rng: &Rng,
    watched: &Watched,
    timeout: Duration,
) {
    let lease = Lease { store: &store, clock, key: KEY, limits: LeaseLimits::for_timeout(F) };
    let recently =
        |failure: &FailureRecord| clock.system().saturating_sub(failure.at) < Duration::from_secs(1);
    let is_usable = |record: &Record| record.failure.as_ref().is_none_or(recently);
    let deadline = clock.monotonic() + timeout;
    match lease.acquire(is_usable, deadline).await.expect("the store works") {
        Acquisition::Usable(_) | Acquisition::Elsewhere(_) => {
            watched.answered.set(watched.answered.get() + 1);
        }
        Acquisition::TimedOut => watched.too_late.set(watched.too_late.get() + 1),
        Acquisition::Acquired(held, before) => {
            let left = (held.since + F).saturating_sub(clock.monotonic());
            let duration = Duration::from_millis(rng.below(12_000));
            let fetching = Fetching::start(watched);
            let in_time = tokio::time::timeout(left, tokio::time::sleep(duration)).await.is_ok();
            drop(fetching);
            let failed = !in_time || rng.below(100) < schedule.failing;
            let failure = failed.then(|| FailureRecord {
                at: clock.system(),
                kind: 8,
                status: 0,
                until: Duration::ZERO,
                credential: 0,
            });
            let rev = rng.next().max(1);
            assert_ne!(Some(rev), before.map(|record| record.rev));
            let record = Record { rev, slot: Slot::from_bits(1), content: None, failure };
            if lease.is_live(held) {
                store.set(KEY, &record.encode()).await.expect("the store works");
            }
            lease.release(held).await.expect("the store works");
            watched.answered.set(watched.answered.get() + 1);
        }
    }
}

fn play(schedule: &Schedule) -> Rc<Watched> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let tasks = tokio::task::LocalSet::new();
    runtime.block_on(tasks.run_until(async {
        let store = FakeStore::new(schedule.seed);
        store.latency.set(schedule.latency);
        let watched = Rc::new(Watched::default());
        let clock = Rc::new(PausedClock(tokio::time::Instant::now()));
        let rng = Rc::new(Rng::new(schedule.seed ^ 0x5eed));
        let mut running = Vec::new();
        for _ in 0..schedule.processes {
            let start = Duration::from_millis(rng.below(schedule.spread + 1));
            let death = (rng.below(100) < schedule.dying).then(|| Duration::from_millis(rng.below(12_000)));
            let (schedule, store, watched) =
                (schedule.clone(), Handle(Rc::clone(&store)), Rc::clone(&watched));
            let (clock, rng) = (Rc::clone(&clock), Rc::clone(&rng));
            let timeout = Duration::from_secs(600);
            running.push(tokio::task::spawn_local(async move {
                tokio::time::sleep(start).await;
                let life = process(&schedule, store, &clock, &rng, &watched, timeout);
                match death {
                    // A process that dies stops where it is, also in the middle of an operation.
                    Some(death) => drop(tokio::time::timeout(death, life).await),
                    None => life.await,
                }
            }));
        }
        for task in running {
            task.await.expect("no process panics");
        }
        watched.times.borrow_mut().push((clock.monotonic(), watched.fetches.get()));
        watched
    }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_two_processes_ask_at_once_and_nobody_waits_for_the_dead(schedule in schedules()) {
        let watched = play(&schedule);
        prop_assert_eq!(watched.overlaps.get(), 0);
        prop_assert_eq!(watched.too_late.get(), 0, "ten minutes are enough for whoever lives");
    }
}

#[test]
fn without_crashes_or_failures_one_fetch_serves_all() {
    for seed in 0..50 {
        let quiet = Schedule { seed, processes: 60, latency: 20, dying: 0, failing: 0, spread: 0 };
        let watched = play(&quiet);
        // A fetch that takes longer than F is given up, and another process tries.
        assert_eq!((watched.overlaps.get(), watched.answered.get()), (0, 60));
        assert!(watched.fetches.get() <= 6, "{} fetches", watched.fetches.get());
    }
}
