//! No sequence of crashes, retries and attempts at once makes or loses items, or places an order twice.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

mod shop;

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;
use shop::{LEASE, Shop, line, order};
use web::fake::{Fake, Memory, get};
use web::{BoxFuture, FetchError, Fetched, Outgoing, Platform, Store, StoreError, System};

/// What happens around an operation of a store.
trait Around: Send + Sync + 'static {
    /// Carries out the operation. `None`: the caller does not learn the result.
    fn operation<R>(&self, operation: impl FnOnce() -> R) -> Option<R>;
}

/// One host's view of a fake system. Its stores' operations have something around them.
struct View<A> {
    fake: Fake,
    around: Arc<A>,
    name: &'static str,
}

impl<A: Around> View<A> {
    /// The services of a host that is called `name`.
    fn services(fake: &Fake, around: &Arc<A>, name: &'static str) -> axum::Router {
        let view = || Platform::new(Self { fake: fake.clone(), around: around.clone(), name });
        fake.serve(name, product_api::router(&view()));
        order_api::router(&view())
    }
}

impl<A: Around> System for View<A> {
    fn monotonic(&self) -> Duration {
        self.fake.monotonic()
    }

    fn unix_time(&self) -> Duration {
        self.fake.unix_time()
    }

    fn random(&self) -> u64 {
        self.fake.random()
    }

    fn setting(&self, name: &str) -> Result<Option<String>, String> {
        if name == "product_api_url" {
            return Ok(Some(format!("http://{}", self.name)));
        }
        System::setting(&self.fake, name)
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn store(&self, name: &str) -> Result<Arc<dyn Store>, StoreError> {
        Ok(Arc::new(ViewedStore { store: self.fake.store(name), around: self.around.clone() }))
    }

    fn fetch(&self, request: Outgoing) -> BoxFuture<Result<Fetched, FetchError>> {
        self.fake.fetch(request)
    }

    fn after_response(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn log(&self, _: &str) {}
}

struct ViewedStore<A> {
    store: Arc<Memory>,
    around: Arc<A>,
}

impl<A: Around> ViewedStore<A> {
    fn operation<R>(
        &self,
        operation: impl FnOnce(&Memory) -> Result<R, StoreError>,
    ) -> Result<R, StoreError> {
        let result = self.around.operation(|| operation(&self.store));
        result.unwrap_or_else(|| Err(StoreError::Other("the host was killed".to_owned())))
    }
}

impl<A: Around> Store for ViewedStore<A> {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.operation(|store| store.get(key))
    }

    fn get_many(&self, keys: &[String]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.operation(|store| store.get_many(keys))
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.operation(|store| store.set(key, value))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.operation(|store| store.delete(key))
    }

    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        self.operation(|store| store.list(prefix, limit))
    }

    fn increment(&self, key: &str, delta: i64) -> Result<i64, StoreError> {
        self.operation(|store| store.increment(key, delta))
    }

    fn compare_and_swap(&self, key: &str, current: Option<&[u8]>, new: &[u8]) -> Result<bool, StoreError> {
        self.operation(|store| store.compare_and_swap(key, current, new))
    }
}

/// Kills a host at one of its operations.
struct Kill {
    done: AtomicUsize,
    /// The number of the last operation.
    at: usize,
    /// The last operation is carried out, although its caller does not learn that.
    last_counts: bool,
}

impl Around for Kill {
    fn operation<R>(&self, operation: impl FnOnce() -> R) -> Option<R> {
        match self.done.fetch_add(1, SeqCst) {
            done if done < self.at => Some(operation()),
            done if done == self.at && self.last_counts => {
                operation();
                None
            }
            _ => None,
        }
    }
}

/// A kill at each operation of an order, before and after the operation. Then the client sends the order again to another host, or it
/// does not.
#[test]
fn a_kill_at_any_moment_leaves_one_order_or_none() {
    let lines = json!([{"product": "relay-hub", "quantity": 1}, {"product": "vault-nas", "quantity": 2}]);
    let mut kills = 0;
    for at in 0.. {
        let mut completed = 0;
        for (last_counts, retries) in [(false, false), (false, true), (true, false), (true, true)] {
            let shop = Shop::new();
            get(&shop.products, "/products");
            let kill = Arc::new(Kill { done: AtomicUsize::new(0), at, last_counts });
            let killed = View::services(&shop.fake, &kill, "killed");
            let first = order(&killed, "c", "k", &lines);
            completed += u32::from(kill.done.load(SeqCst) <= at);

            let target = "/orders?customer=c";
            if retries {
                shop.fake.advance(LEASE);
                let again = shop.order("c", "k", &lines);
                assert_eq!(again.status, 201, "killed at {at}: {}", again.text());
                if first.status == 201 {
                    assert_eq!(first.json(), again.json());
                }
            }
            shop.settle();
            let orders = get(&shop.orders, target).json();
            let confirmed =
                orders["data"].as_array().unwrap().iter().filter(|order| order["status"] == "confirmed");
            let confirmed = u64::try_from(confirmed.count()).unwrap();
            assert_eq!(shop.stock("relay-hub"), (90 - confirmed, 0), "killed at {at}");
            assert_eq!(shop.stock("vault-nas"), (7 - 2 * confirmed, 0), "killed at {at}");
            assert!(confirmed == 1 || (!retries && first.status != 201), "killed at {at}: {orders}");
        }
        if completed == 4 {
            break;
        }
        kills += 1;
    }
    assert!(kills > 15, "an order has more operations than {kills}");
}

/// Lets one of several hosts after the other carry out an operation, as a schedule says.
struct Turns {
    state: Mutex<State>,
    changed: Condvar,
    fake: Fake,
}

struct State {
    schedule: std::vec::IntoIter<u8>,
    running: Vec<usize>,
    turn: usize,
}

/// One host.
struct Turn {
    turns: Arc<Turns>,
    host: usize,
}

impl Turns {
    fn next(&self, state: &mut State) {
        let byte = state.schedule.next().unwrap_or(0);
        if byte >= 224 {
            // Any attempt that runs loses its lease.
            self.fake.advance(LEASE + Duration::from_millis(1));
        }
        let running = state.running.len().max(1);
        state.turn = state.running.get(usize::from(byte) % running).copied().unwrap_or(usize::MAX);
        self.changed.notify_all();
    }

    fn end(&self, host: usize) {
        let mut state = self.state.lock().unwrap();
        state.running.retain(|running| *running != host);
        if state.turn == host {
            self.next(&mut state);
        }
    }
}

impl Around for Turn {
    fn operation<R>(&self, operation: impl FnOnce() -> R) -> Option<R> {
        let state = self.turns.state.lock().unwrap();
        let mut state = self.turns.changed.wait_while(state, |state| state.turn != self.host).unwrap();
        let result = operation();
        self.turns.next(&mut state);
        Some(result)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    /// Four hosts at once, in any sequence of their operations, with leases that end in between: two attempts of one order, and two
    /// orders of others who want the same items.
    #[test]
    fn attempts_at_once_sell_each_item_once(schedule in proptest::collection::vec(any::<u8>(), 0..300)) {
        const NAMES: [&str; 4] = ["host-0", "host-1", "host-2", "host-3"];
        let shop = Shop::new();
        get(&shop.products, "/products");
        shop.set_stock("vault-nas", 3);
        let state = State { schedule: schedule.into_iter(), running: (0..NAMES.len()).collect(), turn: 0 };
        let turns = Arc::new(Turns { state: Mutex::new(state), changed: Condvar::new(), fake: shop.fake.clone() });
        thread::scope(|scope| {
            for (host, name) in NAMES.into_iter().enumerate() {
                let around = Arc::new(Turn { turns: turns.clone(), host });
                let orders = View::services(&shop.fake, &around, name);
                let (turns, customer) = (turns.clone(), ["a", "a", "b", "c"][host]);
                scope.spawn(move || {
                    let answer = order(&orders, customer, "k", &line("vault-nas", 2));
                    assert!([201, 409, 503].contains(&answer.status), "{}", answer.text());
                    turns.end(host);
                });
            }
        });
        // Each client repeats until it has an answer.
        let mut confirmed = 0;
        for customer in ["a", "b", "c"] {
            let answer = (0..10).find_map(|_| {
                shop.fake.advance(LEASE + Duration::from_millis(1));
                let answer = shop.order(customer, "k", &line("vault-nas", 2));
                (answer.status != 503).then_some(answer)
            });
            let answer = answer.unwrap();
            prop_assert!([201, 409].contains(&answer.status), "{}", answer.text());
            confirmed += u32::from(answer.status == 201);
        }
        shop.settle();
        prop_assert_eq!(confirmed, 1);
        prop_assert_eq!(shop.stock("vault-nas"), (1, 0));
    }
}

/// Many threads on one store, without a schedule.
#[test]
fn a_rush_sells_what_there_is() {
    let shop = Shop::new();
    shop.set_stock("braid-cable", 100);
    let confirmed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for thread in 0..8 {
            let (shop, confirmed) = (&shop, &confirmed);
            scope.spawn(move || {
                for n in 0..50 {
                    let customer = format!("c{thread}");
                    let status = loop {
                        match shop.order(&customer, &format!("k{n}"), &line("braid-cable", 1)).status {
                            503 => thread::yield_now(),
                            status => break status,
                        }
                    };
                    assert!([201, 409].contains(&status));
                    confirmed.fetch_add(usize::from(status == 201), SeqCst);
                }
            });
        }
    });
    assert_eq!(confirmed.into_inner(), 100);
    assert_eq!(shop.stock("braid-cable"), (0, 0));
}
