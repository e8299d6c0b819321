//! Clients that ask without end while something fails around them, and remember each answer's grade.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use e2e::harness::{Ask, Connection, PATIENCE, Reply};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::tally::Tally;
use crate::traffic::{Dice, Traffic};

/// How long any step may take before it is called a hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// So many answers in a row, none of them degraded, are normality.
const NORMAL_RUN: u64 = 100;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Hosts that are as good as one another: who gets no answer from one asks the next. All requests are idempotent.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Clients, each with a connection that it keeps.
    pub(crate) clients: usize,
    /// What a client waits between two requests.
    pub(crate) pause: Duration,
    /// Documented errors that the fault may bring about.
    pub(crate) tolerates: &'static [u16],
}

struct Shared {
    plan: Plan,
    traffic: Box<dyn Traffic>,
    tally: Mutex<Tally>,
    stop: AtomicBool,
}

/// Clients at work; dropping it stops them.
pub(crate) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts them.
    pub(crate) fn start(plan: Plan, traffic: impl Traffic) -> Self {
        let tally = Tally {
            answers: vec![0; plan.addresses.len()],
            begun: vec![None; plan.clients],
            ..Tally::default()
        };
        let shared = Arc::new(Shared {
            plan,
            traffic: Box::new(traffic),
            tally: Mutex::new(tally),
            stop: AtomicBool::new(false),
        });
        let mut clients = JoinSet::new();
        for number in 0..shared.plan.clients {
            let client = Client { shared: Arc::clone(&shared), number, at: number, kept: None };
            clients.spawn(client.run());
        }
        Self { shared, clients }
    }

    /// The tally so far.
    pub(crate) fn tally(&self) -> Tally {
        self.shared.tally().clone()
    }

    /// Waits until the tally is so.
    ///
    /// # Errors
    /// When it is not within [`DEADLINE`].
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Tally) -> bool) -> Result<(), String> {
        let begun = Instant::now();
        while !is_so(&self.shared.tally()) {
            if begun.elapsed() > DEADLINE {
                return Err(format!("not within {DEADLINE:?}: {what}; {:?}", self.tally()));
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Waits for so many more answers.
    ///
    /// # Errors
    /// As [`Load::until`].
    pub(crate) async fn more(&self, answers: u64) -> Result<(), String> {
        let enough = self.tally().total() + answers;
        self.until(&format!("{answers} more answers"), |tally| tally.total() >= enough).await
    }

    /// Waits for normality, and tells how long ago, from now on, the last degraded answer was: zero where none came.
    ///
    /// # Errors
    /// As [`Load::until`].
    pub(crate) async fn normal_again(&self) -> Result<Duration, String> {
        let lifted = Instant::now();
        self.shared.tally().normal_run = 0;
        let is_normal = |tally: &Tally| {
            // Nobody still waits for what was asked in bad times.
            let all_anew = tally.begun.iter().all(|begun| begun.is_some_and(|begun| begun > lifted));
            all_anew && tally.normal_run >= NORMAL_RUN
        };
        self.until("answers are normal again", is_normal).await?;
        let last = self.shared.tally().last_abnormal;
        Ok(last.map_or(Duration::ZERO, |last| last.saturating_duration_since(lifted)))
    }

    /// Lets each client finish what it is at.
    pub(crate) async fn finish(mut self) -> Tally {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            if let Err(error) = ended {
                self.shared.tally().lose(format!("a client broke down: {error}"));
            }
        }
        self.tally()
    }
}

impl Shared {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Client {
    shared: Arc<Shared>,
    number: usize,
    /// Whom it asks, modulo the number of hosts.
    at: usize,
    kept: Option<Connection>,
}

impl Client {
    async fn run(mut self) {
        let mut dice = Dice::new();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let task = self.shared.traffic.draw(&mut dice);
            let begun = Instant::now();
            if let Some(mine) = self.shared.tally().begun.get_mut(self.number) {
                *mine = Some(begun);
            }
            let answer = self.ask(&task.target).await;
            let grade = answer.as_ref().map(|reply| (task.judge)(reply));
            {
                let mut tally = self.shared.tally();
                tally.slowest = tally.slowest.max(begun.elapsed());
                match grade {
                    Ok(grade) => tally.count(&task.target, grade, self.shared.plan.tolerates),
                    Err(error) => tally.lose(format!("GET {}: no answer: {error}", task.target)),
                }
            }
            sleep(self.shared.plan.pause).await;
        }
    }

    /// Asks until somebody answers, as any client of a service with several addresses does: a kept connection may have
    /// been closed meanwhile, a host may be gone.
    async fn ask(&mut self, target: &str) -> io::Result<Reply> {
        let hosts = self.shared.plan.addresses.len();
        let mut left = 2 * hosts;
        loop {
            let reused = self.kept.is_some();
            let host = self.at % hosts.max(1);
            match self.ask_once(target, host).await {
                Ok(reply) => {
                    if let Some(answers) = self.shared.tally().answers.get_mut(host) {
                        *answers += 1;
                    }
                    return Ok(reply);
                }
                // A hang is no reason to ask another: it is a loss.
                Err((error, _)) if left == 0 || error.kind() == io::ErrorKind::TimedOut => return Err(error),
                // It was closed while it was idle, which is a server's right; the answer never began.
                Err((_, false)) if reused => {}
                Err(_) if hosts > 1 => self.at += 1,
                Err((error, _)) => return Err(error),
            }
            left -= 1;
            let mut tally = self.shared.tally();
            tally.retried += 1;
            tally.last_retried = Some(Instant::now());
        }
    }

    /// Asks one host; an error comes with whether any of its answer had come.
    async fn ask_once(&mut self, target: &str, host: usize) -> Result<Reply, (io::Error, bool)> {
        let Some(address) = self.shared.plan.addresses.get(host).copied() else {
            return Err((io::Error::other("no host to ask"), false));
        };
        let mut connection = match self.kept.take() {
            Some(connection) => connection,
            None => match timeout(PATIENCE, Connection::try_open(address)).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) => return Err((error, false)),
                Err(_) => return Err((io::ErrorKind::TimedOut.into(), false)),
            },
        };
        let before = connection.received();
        let exchange = async {
            connection.write(&Ask::new(address, "GET", target).bytes()).await?;
            connection.reply().await
        };
        match exchange.await {
            Ok(reply) => {
                if reply.header("connection") != Some("close") {
                    self.kept = Some(connection);
                }
                Ok(reply)
            }
            Err(error) => Err((error, connection.received() > before)),
        }
    }
}
