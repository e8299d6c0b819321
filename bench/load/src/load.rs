//! Requests at a told rate or as fast as they are answered, over one or many users.

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

/// What a timer of the runtime may be late.
const COARSE: Duration = Duration::from_millis(2);

/// What is sent.
#[derive(Args, Clone, Debug)]
pub(crate) struct Plan {
    /// The server.
    #[arg(long)]
    address: SocketAddr,
    /// Path and query; `{n}` is a user's number.
    #[arg(long)]
    path: String,
    /// Users, numbered from 0; asked for in no order.
    #[arg(long, default_value_t = NonZeroU64::MIN)]
    users: NonZeroU64,
    /// Connections that ask.
    #[arg(long, default_value_t = const { NonZeroU32::new(32).unwrap() })]
    connections: NonZeroU32,
    /// Further connections that only stay open; each asks once.
    #[arg(long, default_value_t = 0)]
    idle: u32,
    /// Requests a second, all connections together; without it, each asks as soon as it is answered.
    #[arg(long)]
    rate: Option<NonZeroU32>,
    /// How long.
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Ask for each user once instead, for as long as that takes.
    #[arg(long, conflicts_with = "rate")]
    fill: bool,
}

#[derive(Default)]
struct Tally {
    /// From when a request was due to its answer's last byte.
    nanos: Vec<u64>,
    bytes: u64,
    failed: u64,
    first_failure: Option<String>,
}

/// Carries `plan` out, and prints what came of it.
///
/// # Errors
/// When a connection cannot be made, or breaks.
pub(crate) async fn run(plan: Plan) -> io::Result<()> {
    LocalSet::new().run_until(carry_out(Rc::new(plan))).await
}

async fn carry_out(plan: Rc<Plan>) -> io::Result<()> {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let mut idle = Vec::new();
    for _ in 0..plan.idle {
        let mut connection = Connection::open(&plan, Rc::default()).await?;
        connection.ask(0, None).await?;
        idle.push(connection);
    }
    let mut connections = Vec::new();
    for _ in 0..plan.connections.get() {
        connections.push(Connection::open(&plan, tally.clone()).await?);
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
    print(&mut tally.borrow_mut(), plan.idle, took);
    Ok(())
}

fn print(tally: &mut Tally, idle: u32, took: Duration) {
    tally.nanos.sort_unstable();
    let count = tally.nanos.len();
    let milliseconds = |per_mille: usize| {
        let at = (count * per_mille / 1000).min(count.saturating_sub(1));
        tally.nanos.get(at).map(|nanos| *nanos as f64 / 1e6)
    };
    let result = serde_json::json!({
        "requests": count,
        // With those that only opened the idle connections.
        "asked": count as u64 + u64::from(idle),
        "per_second": count as f64 / took.as_secs_f64(),
        "p50_ms": milliseconds(500),
        "p99_ms": milliseconds(990),
        "p999_ms": milliseconds(999),
        "bytes_each": tally.bytes.checked_div(count as u64),
        "failed": tally.failed,
        "first_failure": tally.first_failure,
        "seconds": took.as_secs_f64(),
    });
    println!("{result}");
}

struct Connection {
    messages: Messages<TcpStream>,
    path: String,
    tally: Rc<RefCell<Tally>>,
}

impl Connection {
    async fn open(plan: &Plan, tally: Rc<RefCell<Tally>>) -> io::Result<Self> {
        let stream = TcpStream::connect(plan.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { messages: Messages::new(stream), path: plan.path.clone(), tally })
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
            // Users in an order that no cache of the processor's could foresee.
            self.ask(scatter(turn) % users, due).await?;
            turn += connections;
        }
        Ok(())
    }

    /// Sends a request when it is due, and reads its answer. One that the connection was not free for counts from when it
    /// was due: the server kept it waiting. That this program woke up late does not count.
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
        let mut tally = self.tally.borrow_mut();
        if !answer.first_line.starts_with("HTTP/1.1 200 ") {
            tally.failed += 1;
            tally.first_failure.get_or_insert(answer.first_line);
        }
        tally.bytes += answer.body as u64;
        tally.nanos.push(u64::try_from(from.elapsed().as_nanos()).unwrap_or(u64::MAX));
        Ok(())
    }
}

/// The runtime's timer counts in milliseconds, and requests would come in bunches: what is less is waited for in turns of the loop.
async fn wait_until(due: Instant) {
    if let Some(early) = due.checked_sub(COARSE).filter(|early| *early > Instant::now()) {
        sleep_until(early).await;
    }
    while Instant::now() < due {
        yield_now().await;
    }
}

/// splitmix64's mixing.
fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
