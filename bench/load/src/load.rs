//! Sends requests at a fixed rate, or as fast as the server answers, for one user or many.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroU64};
use std::rc::Rc;
use std::time::Duration;

use clap::Args;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::{JoinSet, LocalSet, yield_now};
use tokio::time::{Instant, sleep_until};

use crate::http::Messages;

/// How late a timer of the runtime may fire.
const TIMER_ERROR: Duration = Duration::from_millis(2);

/// Options of `bench-load run`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// Address of the server
    #[arg(long)]
    address: SocketAddr,
    /// Path and query; `{n}` stands for the user's number
    #[arg(long)]
    path: String,
    /// Number of users, numbered from 0 and requested in random order
    #[arg(long, default_value_t = NonZeroU64::MIN)]
    users: NonZeroU64,
    /// Connections that send requests
    #[arg(long, default_value_t = const { NonZeroU32::new(32).unwrap() })]
    connections: NonZeroU32,
    /// Additional connections that stay open; each sends one request
    #[arg(long, default_value_t = 0)]
    idle: u32,
    /// Requests a second over all connections; without it, each connection sends the next request after each response
    #[arg(long)]
    rate: Option<NonZeroU32>,
    /// Duration in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Request each user once, and ignore the duration
    #[arg(long, conflicts_with = "rate")]
    fill: bool,
}

/// The results of all connections that send requests.
#[derive(Default)]
struct Results {
    /// For each request, the nanoseconds from the time when it was due to the last byte of its response.
    nanos: Vec<u64>,
    /// The bytes of all bodies.
    bytes: u64,
    /// Responses with a status other than 200.
    failed: u64,
    /// The status line of the first of them.
    first_failure: Option<String>,
}

/// Sends the requests and prints the results as JSON.
///
/// # Errors
/// Fails when a connection cannot be opened or breaks.
pub(crate) async fn run(plan: Plan) -> io::Result<()> {
    LocalSet::new().run_until(measure(Rc::new(plan))).await
}

async fn measure(plan: Rc<Plan>) -> io::Result<()> {
    let results = Rc::new(RefCell::new(Results::default()));
    let mut idle = Vec::new();
    for _ in 0..plan.idle {
        let mut connection = Connection::open(&plan, Rc::default()).await?;
        connection.ask(0, None).await?;
        idle.push(connection);
    }
    let mut connections = Vec::new();
    for _ in 0..plan.connections.get() {
        connections.push(Connection::open(&plan, results.clone()).await?);
    }
    let begin = Instant::now();
    let mut asking = JoinSet::new();
    for (at, connection) in connections.into_iter().enumerate() {
        asking.spawn_local(connection.work(plan.clone(), at as u64, begin));
    }
    while let Some(done) = asking.join_next().await {
        done.map_err(io::Error::other)??;
    }
    let took = begin.elapsed();
    drop(idle);
    print(&mut results.borrow_mut(), plan.idle, took);
    Ok(())
}

fn print(results: &mut Results, idle: u32, took: Duration) {
    results.nanos.sort_unstable();
    let count = results.nanos.len();
    let milliseconds = |per_mille: usize| {
        let at = (count * per_mille / 1000).min(count.saturating_sub(1));
        results.nanos.get(at).map(|nanos| *nanos as f64 / 1e6)
    };
    let result = serde_json::json!({
        "requests": count,
        // Includes the requests on idle connections.
        "asked": count as u64 + u64::from(idle),
        "per_second": count as f64 / took.as_secs_f64(),
        "p50_ms": milliseconds(500),
        "p99_ms": milliseconds(990),
        "p999_ms": milliseconds(999),
        "bytes_each": results.bytes.checked_div(count as u64),
        "failed": results.failed,
        "first_failure": results.first_failure,
        "seconds": took.as_secs_f64(),
    });
    println!("{result}");
}

struct Connection {
    messages: Messages<TcpStream>,
    path: String,
    results: Rc<RefCell<Results>>,
}

impl Connection {
    async fn open(plan: &Plan, results: Rc<RefCell<Results>>) -> io::Result<Self> {
        let stream = TcpStream::connect(plan.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { messages: Messages::new(stream), path: plan.path.clone(), results })
    }

    async fn work(mut self, plan: Rc<Plan>, at: u64, begin: Instant) -> io::Result<()> {
        let (users, connections) = (plan.users.get(), u64::from(plan.connections.get()));
        if plan.fill {
            for user in (at..users).step_by(plan.connections.get() as usize) {
                self.ask(user, None).await?;
            }
            return Ok(());
        }
        let end = begin + Duration::from_secs(plan.seconds.into());
        let mut turn = at;
        while Instant::now() < end {
            let due =
                plan.rate.map(|rate| begin + Duration::from_secs_f64(turn as f64 / f64::from(rate.get())));
            if due.is_some_and(|due| due >= end) {
                break;
            }
            // A random order, so that the processor cannot prefetch the users' entries.
            self.ask(scatter(turn) % users, due).await?;
            turn += connections;
        }
        Ok(())
    }

    /// Sends a request when it is due, and reads the response.
    ///
    /// Latency counts from the due time when the connection was busy then, because the server made the request wait. Latency counts from
    /// the time of sending when this program woke up late.
    async fn ask(&mut self, user: u64, due: Option<Instant>) -> io::Result<()> {
        let mut from = Instant::now();
        match due {
            Some(due) if due > from => {
                wait_until(due).await;
                from = Instant::now();
            }
            Some(due) => from = due,
            None => {}
        }
        let path = self.path.replace("{n}", &user.to_string());
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        self.messages.stream().write_all(request.as_bytes()).await?;
        let Some(answer) = self.messages.next().await? else {
            return Err(io::Error::other("the server closed a connection"));
        };
        let mut results = self.results.borrow_mut();
        if !answer.first_line.starts_with("HTTP/1.1 200 ") {
            results.failed += 1;
            results.first_failure.get_or_insert(answer.first_line);
        }
        results.bytes += answer.body as u64;
        results.nanos.push(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX));
        Ok(())
    }
}

/// Waits until `due`. The runtime's timer has a resolution of a millisecond, which would send requests in bursts: the last milliseconds are a
/// busy loop that yields to other tasks.
async fn wait_until(due: Instant) {
    if let Some(early) = due.checked_sub(TIMER_ERROR).filter(|early| *early > Instant::now()) {
        sleep_until(early).await;
    }
    while Instant::now() < due {
        yield_now().await;
    }
}

/// Mixes a number as splitmix64 does, so that consecutive numbers give unrelated results.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
