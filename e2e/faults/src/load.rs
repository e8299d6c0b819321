//! Clients that ask without end while something fails around them, and remember each answer's grade.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::{Client, Fate};
use crate::tally::Tally;
use crate::traffic::Traffic;

/// How long any step may take before it is called a hang.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// Answers that have to have come, too, before a load gives up what it waits for: a slow machine takes longer for the same.
const ENOUGH: u64 = 3000;
/// So many answers in a row, none of them degraded, are normality.
const NORMAL_RUN: u64 = 100;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Hosts that are as good as one another.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Clients, each with a connection that it keeps.
    pub(crate) clients: usize,
    /// What a client waits between two requests.
    pub(crate) pause: Duration,
    /// What may fail.
    pub(crate) allows: Allows,
}

/// What a fault is a reason for. All else that clients see fail is lost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allows {
    /// Documented errors.
    pub(crate) errors: &'static [u16],
    /// What becomes of the first host; the others stay.
    pub(crate) first_host: Fate,
}

impl Allows {
    /// Every request is answered, and rightly.
    pub(crate) const NOTHING: Self = Self::errors(&[]);

    /// Every request is answered, by these errors too.
    pub(crate) const fn errors(errors: &'static [u16]) -> Self {
        Self { errors, first_host: Fate::Stays }
    }

    /// Every request is answered rightly, by another host where the first one has gone.
    pub(crate) const fn loss_of_first_host(first_host: Fate) -> Self {
        Self { errors: &[], first_host }
    }
}

/// What clients have in common.
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) traffic: Box<dyn Traffic>,
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
            clients.spawn(Client::new(Arc::clone(&shared), number).run());
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
    /// When it is not within [`DEADLINE`] and some thousand answers, or no answer comes for so long.
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Tally) -> bool) -> Result<(), String> {
        self.within(ENOUGH, what, is_so).await
    }

    /// Waits for so many more answers, however long they take, if only one comes after another.
    ///
    /// # Errors
    /// When no answer comes for [`DEADLINE`].
    pub(crate) async fn more(&self, answers: u64) -> Result<(), String> {
        let enough = self.tally().total() + answers;
        let what = format!("{answers} more answers");
        self.within(answers, &what, |tally| tally.total() >= enough).await
    }

    async fn within(&self, answers: u64, what: &str, is_so: impl Fn(&Tally) -> bool) -> Result<(), String> {
        let begun = Instant::now();
        let mut seen = self.tally().total();
        let (enough, mut moved) = (seen + answers, begun);
        loop {
            {
                let tally = self.shared.tally();
                if is_so(&tally) {
                    return Ok(());
                }
                if tally.total() > seen {
                    (seen, moved) = (tally.total(), Instant::now());
                }
            }
            if moved.elapsed() > DEADLINE || begun.elapsed() > DEADLINE && seen > enough {
                return Err(format!("not within {:.0?}: {what}; {:?}", begun.elapsed(), self.tally()));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until nobody waits any more for what was asked before now, and tells when that now was.
    ///
    /// # Errors
    /// As [`Load::until`].
    pub(crate) async fn anew(&self) -> Result<Instant, String> {
        let now = Instant::now();
        let all_anew = |tally: &Tally| tally.begun.iter().all(|begun| begun.is_some_and(|begun| begun > now));
        self.until("all clients ask anew", all_anew).await?;
        Ok(now)
    }

    /// Waits for normality, and tells how long ago, from now on, the last degraded answer was: zero where none came.
    ///
    /// # Errors
    /// As [`Load::until`].
    pub(crate) async fn normal_again(&self) -> Result<Duration, String> {
        self.shared.tally().normal_run = 0;
        let lifted = self.anew().await?;
        self.until("answers are normal again", |tally| tally.normal_run >= NORMAL_RUN).await?;
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
    /// The tally, for as long as one looks at it.
    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether more is to be asked.
    pub(crate) fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}
