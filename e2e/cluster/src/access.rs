//! Which tests use the cluster at the same time: shared access for most, exclusive access for those that measure, put load on the
//! cluster, or change the node.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::panic::Location;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::{fail, figure};

/// How many tests have shared access at once. On two cores, more of them only wait for each other.
const MAX_SHARED: usize = 3;

static LOCK: Lock = Lock::new();

thread_local! {
    /// Whether this thread's test has access.
    static HELD: Cell<bool> = const { Cell::new(false) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shared,
    Exclusive,
}

/// A test's access to the cluster, until this value is dropped. Each test takes it in its first line, so that its namespaces are dropped
/// first. At the end, the time of the test is recorded under `seconds`, without the time that the test waited for access.
///
/// Tests with exclusive access run when no test has or waits for shared access, one after the other.
#[must_use = "the access ends with this value"]
pub struct Access {
    kind: Kind,
    test: String,
    begin: Instant,
}

impl Access {
    /// Access for a test that runs beside others: what the test creates has names of its own, and neither its result nor its figures depend
    /// on how busy the node is.
    #[track_caller]
    pub fn shared() -> Self {
        Self::take(Kind::Shared)
    }

    /// Access for a test that measures, puts load on the cluster, counts what the node has, or changes what other tests use.
    #[track_caller]
    pub fn exclusive() -> Self {
        Self::take(Kind::Exclusive)
    }

    #[track_caller]
    fn take(kind: Kind) -> Self {
        let test = test_name();
        LOCK.take(kind, &test);
        HELD.set(true);
        Self { kind, test, begin: Instant::now() }
    }

    /// Fails the test if it has no access.
    #[track_caller]
    pub(crate) fn require() {
        if !HELD.get() {
            fail(
                "the test has no access to the cluster: call Access::shared or Access::exclusive in its first line",
            );
        }
    }

    /// Fails the test if other tests may run beside it: `what` needs the cluster for itself.
    #[track_caller]
    pub(crate) fn require_exclusive(what: &str) {
        if !LOCK.users().exclusive {
            fail(format!(
                "{what} needs exclusive access to the cluster: call Access::exclusive in the test's first line"
            ));
        }
    }
}

impl Drop for Access {
    fn drop(&mut self) {
        let took = self.begin.elapsed();
        HELD.set(false);
        LOCK.release(self.kind);
        // A failed test has no figure. If this panicked too, the process would end.
        if !std::thread::panicking() {
            figure("seconds", &self.test, took.as_secs());
        }
    }
}

/// The tests that have access, and those that wait for exclusive access.
struct Users {
    shared: usize,
    exclusive: bool,
    /// By name, so that the order does not depend on which thread comes first.
    waiting: BTreeSet<String>,
}

/// A lock that prefers shared access, and that a panic does not poison.
struct Lock {
    users: Mutex<Users>,
    changed: Condvar,
}

impl Lock {
    const fn new() -> Self {
        let users = Users { shared: 0, exclusive: false, waiting: BTreeSet::new() };
        Self { users: Mutex::new(users), changed: Condvar::new() }
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks until the test with this name has the access.
    fn take(&self, kind: Kind, test: &str) {
        let mut users = self.users();
        if kind == Kind::Exclusive {
            users.waiting.insert(test.to_owned());
        }
        while !users.admits(kind, test) {
            users = self.changed.wait(users).unwrap_or_else(PoisonError::into_inner);
        }
        match kind {
            Kind::Shared => users.shared += 1,
            Kind::Exclusive => users.exclusive = users.waiting.remove(test),
        }
    }

    fn release(&self, kind: Kind) {
        match kind {
            Kind::Shared => self.users().shared -= 1,
            Kind::Exclusive => self.users().exclusive = false,
        }
        self.changed.notify_all();
    }
}

impl Users {
    fn admits(&self, kind: Kind, test: &str) -> bool {
        match kind {
            Kind::Shared => !self.exclusive && self.shared < MAX_SHARED,
            Kind::Exclusive => {
                !self.exclusive && self.shared == 0 && self.waiting.first().is_some_and(|first| first == test)
            }
        }
    }
}

/// The name of the test: libtest gives it to the test's thread, unless it runs one test at a time.
#[track_caller]
fn test_name() -> String {
    let caller = Location::caller();
    match std::thread::current().name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => format!("{}:{}", caller.file(), caller.line()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// The tests that have access now.
    #[derive(Default)]
    struct Seen {
        shared: AtomicUsize,
        exclusive: AtomicUsize,
        /// How often there were too many. Counted, because a panic with the access would make the other threads wait for ever.
        wrong: AtomicUsize,
    }

    impl Seen {
        fn share(&self, lock: &Lock, test: &str) {
            lock.take(Kind::Shared, test);
            let before = self.shared.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
            self.expect(before < MAX_SHARED && self.exclusive.load(Ordering::SeqCst) == 0);
            self.shared.fetch_sub(1, Ordering::SeqCst);
            lock.release(Kind::Shared);
        }

        fn exclude(&self, lock: &Lock, test: &str) {
            lock.take(Kind::Exclusive, test);
            let before = self.exclusive.fetch_add(1, Ordering::SeqCst);
            std::thread::yield_now();
            self.expect(before == 0 && self.shared.load(Ordering::SeqCst) == 0);
            self.exclusive.fetch_sub(1, Ordering::SeqCst);
            lock.release(Kind::Exclusive);
        }

        fn expect(&self, right: bool) {
            self.wrong.fetch_add(usize::from(!right), Ordering::SeqCst);
        }
    }

    #[test]
    fn exclusive_access_is_beside_no_other() {
        let (lock, seen) = (Lock::new(), Seen::default());
        std::thread::scope(|scope| {
            for index in 0..32 {
                let (lock, seen, test) = (&lock, &seen, format!("test {index}"));
                scope.spawn(move || {
                    for _ in 0..10 {
                        if index % 4 == 0 { seen.exclude(lock, &test) } else { seen.share(lock, &test) }
                    }
                });
            }
        });
        assert_eq!(seen.wrong.load(Ordering::SeqCst), 0);
    }

    /// The message with which `work` panics; `None` if it does not panic.
    fn refusal(work: impl FnOnce() + Send + 'static) -> Option<String> {
        let panicked = std::thread::spawn(work).join().err()?;
        panicked.downcast_ref::<String>().cloned()
    }

    #[test]
    fn what_needs_access_says_so_and_a_failed_test_gives_its_access_back() {
        let without = refusal(Access::require).unwrap_or_default();
        assert!(without.contains("has no access"), "{without}");
        let beside = refusal(|| {
            let _access = Access::shared();
            Access::require();
            Access::require_exclusive("load");
        });
        let beside = beside.unwrap_or_default();
        assert!(beside.contains("load needs exclusive access"), "{beside}");
        // The panic above gave the shared access back, and this one gives back the exclusive access.
        for _ in 0..2 {
            let failed = refusal(|| {
                let _access = Access::exclusive();
                Access::require_exclusive("load");
                fail("as the test wants it");
            });
            assert_eq!(failed.as_deref(), Some("as the test wants it"));
        }
    }
}
