//! 10,000 orders at once for 100 items, on two hosts that share a Redis. In the middle, one host and Redis are killed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::Value;
use testkit::http::{Connection, Response};
use testkit::{HostOptions, RedisServer, paths, until};
use tokio::sync::Notify;

use techcommerce_e2e::{Instances, options, order, set_stock, settle, stock};

const PRODUCT: &str = "relay-hub";
const ITEMS: usize = 100;
const ORDERS: usize = 10_000;
/// Clients that order at the same time, each one order after the other.
const CLIENTS: usize = 64;
/// After so many confirmed orders, the host and Redis are killed.
const KILL_AFTER: usize = 40;
/// The pause of a client whose order has no answer yet.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a client repeats an order before the test calls it a hang.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the clients share.
struct Storm {
    /// The hosts' addresses: the first one's changes.
    hosts: Mutex<[SocketAddr; 2]>,
    next: AtomicUsize,
    /// The confirmed orders: their numbers, and their answers.
    confirmed: Mutex<BTreeMap<usize, Value>>,
    enough: Notify,
    repeated: AtomicUsize,
}

/// A client with a connection to each host.
struct Client {
    storm: Arc<Storm>,
    connections: [Option<(SocketAddr, Connection)>; 2],
}

impl Client {
    async fn run(mut self) {
        loop {
            let number = self.storm.next.fetch_add(1, SeqCst);
            if number >= ORDERS {
                return;
            }
            let answer = self.answer(number).await;
            if answer.status == 201 {
                let mut confirmed = self.storm.confirmed.lock().unwrap();
                confirmed.insert(number, answer.json());
                if confirmed.len() == KILL_AFTER {
                    self.storm.enough.notify_one();
                }
            }
        }
    }

    /// Sends the order until it has an answer, to one host after the other.
    async fn answer(&mut self, number: usize) -> Response {
        let begun = Instant::now();
        for host in (number % 2..2).chain((0..2).cycle()) {
            let sent = self.send(host, number).await;
            match &sent {
                // Refused for good: the answer names the order.
                Some(answer) if answer.status == 409 && answer.json().get("order").is_some() => {}
                Some(answer) if answer.status == 201 => {}
                _ => {
                    assert!(begun.elapsed() < PATIENCE, "order {number} has no answer: {sent:?}");
                    self.storm.repeated.fetch_add(1, SeqCst);
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            }
            return sent.unwrap();
        }
        panic!("an endless sequence ended")
    }

    /// `None`: the connection broke.
    async fn send(&mut self, host: usize, number: usize) -> Option<Response> {
        let address = self.storm.hosts.lock().unwrap()[host];
        let known = self.connections[host].take().filter(|(known, _)| *known == address);
        let mut connection = match known {
            Some((_, connection)) => connection,
            None => Connection::try_open(address).await.ok()?,
        };
        let request = order(&format!("customer-{number}"), "key", PRODUCT);
        connection.write(&request.bytes(&address.to_string())).await.ok()?;
        let response = connection.response_to("POST").await.ok()?;
        if !response.closes() {
            self.connections[host] = Some((address, connection));
        }
        Some(response)
    }
}

fn redis_at(address: Option<SocketAddr>, directory: &str) -> RedisServer {
    let arguments = ["--appendonly", "yes", "--appendfsync", "always", "--dir", directory];
    match address {
        Some(address) => RedisServer::start_at(address, &arguments),
        None => RedisServer::with(&arguments),
    }
}

async fn options_with(redis: SocketAddr) -> HostOptions {
    options(Instances::Reused)
        .await
        .setting("store", "shop")
        // A host that was killed keeps its orders for this long.
        .setting("order_lease", "2s")
        .flag("--keyvalue-store", &format!("shop=redis://{redis}"))
        .flag("--redis-ttl", "8760h")
        // On a busy machine, a late response is no failure of Redis.
        .flag("--redis-timeout", "5s")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_orders_sell_a_hundred_items_whatever_is_killed() {
    let directory = paths::scratch("techcommerce-storm");
    let directory = directory.to_str().unwrap();
    let redis = redis_at(None, directory);
    let options = options_with(redis.address()).await;
    let (mut first, second) = (options.clone().start().await, options.clone().start().await);
    set_stock(&first, PRODUCT, u32::try_from(ITEMS).unwrap()).await;

    let storm = Arc::new(Storm {
        hosts: Mutex::new([first.address(), second.address()]),
        next: AtomicUsize::new(0),
        confirmed: Mutex::default(),
        enough: Notify::new(),
        repeated: AtomicUsize::new(0),
    });
    let begun = Instant::now();
    let clients = (0..CLIENTS).map(|_| Client { storm: storm.clone(), connections: [None, None] }.run());
    let clients = join_all(clients.map(tokio::spawn));
    let killing = async {
        storm.enough.notified().await;
        let address = redis.address();
        first.kill().await;
        // Dropping the server kills it, too.
        drop(redis);
        let redis = redis_at(Some(address), directory);
        let again = options.start().await;
        storm.hosts.lock().unwrap()[0] = again.address();
        (redis, again)
    };
    let (ended, (_redis, first)) = tokio::join!(clients, killing);
    for client in ended {
        client.unwrap();
    }
    let (took, repeated) = (begun.elapsed(), storm.repeated.load(SeqCst));
    println!("{ORDERS} orders in {took:.1?}, {repeated} requests without an answer");
    assert!(repeated > 0, "nothing was in flight when the host was killed");

    let confirmed = storm.confirmed.lock().unwrap().clone();
    assert_eq!(confirmed.len(), ITEMS);
    for (number, answer) in &confirmed {
        let id = answer["id"].as_str().unwrap();
        for host in [&first, &second] {
            assert_eq!(host.get(&format!("/orders/{id}")).await.is(200).json(), *answer);
        }
        let request = order(&format!("customer-{number}"), "key", PRODUCT).to(second.address());
        let again = request.send().await.is(201);
        assert_eq!((again.header("idempotency-replayed"), again.json()), (Some("true"), answer.clone()));
        let listed = second.get(&format!("/orders?customer=customer-{number}")).await.is(200).json();
        assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
    }
    // Holds whose orders were confirmed on the host that was killed are ended when they are stale.
    until("no item is held", async || {
        settle(&second).await;
        (stock(&second, PRODUCT).await == (0, 0)).then_some(())
    })
    .await;
}
