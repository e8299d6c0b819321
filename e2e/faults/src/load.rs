//! A load: clients that send requests while a fault happens, and grade each response.

use std::sync::Arc;
use std::time::{Duration, Instant};

use testkit::DEADLINE;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client::Client;
use crate::load_state::LoadState;
use crate::plan::Plan;
use crate::tally::Tally;
use crate::traffic::Traffic;

/// The minimum number of responses before a wait fails: a slow machine needs longer for the same number.
const ENOUGH: u64 = 3000;
/// This number of consecutive responses without a degraded one counts as recovery.
const RECOVERED: u64 = 100;

/// Running clients. Dropping the load stops them.
pub(crate) struct Load {
    state: Arc<LoadState>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts the clients.
    pub(crate) fn start(plan: Plan, traffic: impl Traffic) -> Self {
        let state = Arc::new(LoadState::new(plan, traffic));
        let mut clients = JoinSet::new();
        for number in 0..state.plan.clients {
            clients.spawn(Client::new(Arc::clone(&state), number).run());
        }
        Self { state, clients }
    }

    /// The tally so far.
    pub(crate) fn tally(&self) -> Tally {
        self.state.tally().clone()
    }

    /// Waits until `is_so` holds for the tally.
    ///
    /// # Errors
    /// If it does not hold within [`DEADLINE`] and some thousand responses, or no response comes for [`DEADLINE`].
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Tally) -> bool) -> Result<(), String> {
        self.within(ENOUGH, what, is_so).await
    }

    /// Waits for this number of further responses, however long they take.
    ///
    /// # Errors
    /// If no response comes for [`DEADLINE`].
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
                let tally = self.state.tally();
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

    /// Waits for this number of further documented errors, or lost requests.
    ///
    /// # Errors
    /// As [`Load::until`].
    pub(crate) async fn more_errors(&self, errors: u64) -> Result<(), String> {
        let so_far = |tally: &Tally| tally.refused.values().sum::<u64>() + tally.lost;
        let enough = so_far(&self.tally()) + errors;
        self.until("the fault shows in responses", |tally| so_far(tally) >= enough).await
    }

    /// Waits until each client has begun a request after this call; returns the time of this call.
    ///
    /// # Errors
    /// As [`Load::until`].
    pub(crate) async fn next_requests(&self) -> Result<Instant, String> {
        let now = Instant::now();
        let all_begun =
            |tally: &Tally| tally.begun.iter().all(|begun| begun.is_some_and(|begun| begun > now));
        self.until("each client begins a new request", all_begun).await?;
        Ok(now)
    }

    /// Waits for recovery; returns the time from this call to the last degraded response, or zero if none came.
    ///
    /// # Errors
    /// As [`Load::until`].
    pub(crate) async fn recovered(&self) -> Result<Duration, String> {
        self.state.tally().normal_run = 0;
        let lifted = self.next_requests().await?;
        self.until("the responses have recovered", |tally| tally.normal_run >= RECOVERED).await?;
        let last = self.state.tally().last_abnormal;
        Ok(last.map_or(Duration::ZERO, |last| last.saturating_duration_since(lifted)))
    }

    /// Stops the clients; each finishes its current request.
    pub(crate) async fn finish(mut self) -> Tally {
        self.state.stop();
        while let Some(ended) = self.clients.join_next().await {
            if let Err(error) = ended {
                self.state.tally().lose(format!("a client panicked: {error}"));
            }
        }
        self.tally()
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use fastrand::Rng;
    use testkit::http::{Connection, Response};
    use testkit::ports::{Refusing, listen};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::plan::{Allows, HostFault};
    use crate::traffic::{Grade, Traffic, TrafficRequest};

    const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell";
    const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwe";

    struct Same;

    impl Traffic for Same {
        fn draw(&self, _: &mut Rng) -> TrafficRequest {
            let check = |reply: &Response| {
                if reply.body == b"well" { Grade::Right } else { Grade::Wrong("another".to_owned()) }
            };
            TrafficRequest { target: "/".to_owned(), check: Box::new(check) }
        }
    }

    /// The address of a server that reads a request, sends this, and closes the connection.
    async fn host_that_sends(answer: &'static str) -> SocketAddr {
        let (listener, address) = listen().await;
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let _ = stream.read(&mut [0; 4096]).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        address
    }

    /// The tally of one request whose first host has this fault.
    async fn first_of(first: SocketAddr, fault: HostFault) -> Tally {
        let second = host_that_sends(WHOLE).await;
        let plan = Plan {
            addresses: vec![first, second],
            clients: 1,
            pause: Duration::from_secs(3600),
            allows: Allows::loss_of_first_host(fault),
        };
        let load = Load::start(plan, Same);
        load.until("the request is counted", |tally| tally.lost + tally.total() > 0).await.unwrap();
        load.tally()
    }

    #[tokio::test]
    async fn a_failure_is_a_loss_unless_the_fault_of_the_host_explains_it() {
        let refusing = Refusing::bind();
        for (answer, lost_by) in [
            (None, [HostFault::None].as_slice()),
            (Some(""), &[HostFault::None]),
            (Some(HALF), &[HostFault::None, HostFault::Terminated]),
            (Some("no answer at all\r\n\r\n"), &[HostFault::None, HostFault::Terminated, HostFault::Killed]),
        ] {
            for fault in [HostFault::None, HostFault::Terminated, HostFault::Killed] {
                let first = match answer {
                    Some(answer) => host_that_sends(answer).await,
                    None => refusing.address(),
                };
                let tally = first_of(first, fault).await;
                let lost = lost_by.contains(&fault);
                let expected = if lost { (1, 0, 0) } else { (0, 1, 1) };
                let seen = (tally.lost, tally.retried, tally.total());
                assert_eq!(seen, expected, "{answer:?} of a host with fault {fault:?}: {:?}", tally.reasons);
            }
        }
    }

    #[tokio::test]
    async fn a_fault_of_the_first_host_explains_no_failure_of_another() {
        let refusing = Refusing::bind();
        let plan = Plan {
            addresses: vec![refusing.address(), refusing.address()],
            clients: 1,
            pause: Duration::from_secs(3600),
            allows: Allows::loss_of_first_host(HostFault::Killed),
        };
        let load = Load::start(plan, Same);
        load.until("the request is counted", |tally| tally.lost > 0).await.unwrap();
        assert!(load.tally().reasons.iter().all(|reason| reason.contains("host 1")), "{:?}", load.tally());
    }

    #[tokio::test]
    async fn the_end_of_a_kept_connection_is_known_before_the_next_request() {
        let (listener, address) = listen().await;
        let mut connection = Connection::open(address).await;
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(!connection.has_ended());
        drop(accepted);
        testkit::until("the end is known", async || connection.has_ended().then_some(())).await;
    }
}
