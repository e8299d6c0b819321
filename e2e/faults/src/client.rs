//! One client of a load. What it sees fail is lost, unless the fault is that its host goes: then it asks another.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Instant;

use e2e::Dice;
use e2e::harness::{Ask, Connection, PATIENCE, Reply};
use tokio::time::{sleep, timeout};

use crate::load::Shared;

/// What becomes of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It stays, so it answers.
    Stays,
    /// It ends in good order: what it begins to answer it answers to the end. Whether it answered all that it took is for
    /// its log to tell; a client cannot know why nothing came.
    Leaves,
    /// It ends in the middle of whatever it is at.
    Dies,
}

/// How a request came to have no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// Nobody took the connection.
    Unreached,
    /// The connection ended before any of the answer came.
    Unanswered,
    /// It ended in the middle of the answer.
    Cut,
    /// Nothing came in time, or what came is no answer.
    Otherwise,
}

impl Fate {
    fn explains(self, broken: Broken) -> bool {
        match self {
            Self::Stays => false,
            Self::Leaves => matches!(broken, Broken::Unreached | Broken::Unanswered),
            Self::Dies => broken != Broken::Otherwise,
        }
    }
}

/// Asks, and counts what comes.
pub(crate) struct Client {
    shared: Arc<Shared>,
    number: usize,
    /// Whom it asks, modulo the number of hosts.
    at: usize,
    kept: Option<Connection>,
}

impl Client {
    /// The first ones begin with different hosts.
    pub(crate) fn new(shared: Arc<Shared>, number: usize) -> Self {
        Self { shared, number, at: number, kept: None }
    }

    /// Asks until the load ends.
    pub(crate) async fn run(mut self) {
        let mut dice = Dice::unlike_others();
        while self.shared.goes_on() {
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
                    Ok(grade) => tally.count(&task.target, grade, self.shared.plan.allows.errors),
                    Err(reason) => tally.lose(format!("GET {}: {reason}", task.target)),
                }
            }
            sleep(self.shared.plan.pause).await;
        }
    }

    /// Asks its host, and the next one where it is the fault's doing that there is no answer: all requests are idempotent.
    async fn ask(&mut self, target: &str) -> Result<Reply, String> {
        let hosts = self.shared.plan.addresses.len();
        let mut others = hosts.saturating_sub(1);
        loop {
            let host = self.at % hosts.max(1);
            let fate = if host == 0 { self.shared.plan.allows.first_host } else { Fate::Stays };
            match self.ask_once(target, host).await {
                Ok(reply) => {
                    if let Some(answers) = self.shared.tally().answers.get_mut(host) {
                        *answers += 1;
                    }
                    return Ok(reply);
                }
                Err((_, broken)) if fate.explains(broken) && others > 0 => {}
                Err((error, broken)) => return Err(format!("no answer of host {host}: {broken:?}: {error}")),
            }
            others -= 1;
            self.at += 1;
            let mut tally = self.shared.tally();
            tally.retried += 1;
            tally.last_retried = Some(Instant::now());
        }
    }

    async fn ask_once(&mut self, target: &str, host: usize) -> Result<Reply, (io::Error, Broken)> {
        let Some(address) = self.shared.plan.addresses.get(host).copied() else {
            return Err((io::Error::other("no host to ask"), Broken::Otherwise));
        };
        // One that was closed while nobody asked anything, which is a server's right, is no failure.
        let mut kept = self.kept.take();
        if kept.as_mut().is_some_and(Connection::has_ended) {
            kept = None;
        }
        let mut connection = match kept {
            Some(connection) => connection,
            None => match timeout(PATIENCE, Connection::try_open(address)).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                    return Err((error, Broken::Unreached));
                }
                Ok(Err(error)) => return Err((error, Broken::Otherwise)),
                Err(late) => return Err((late.into(), Broken::Otherwise)),
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
            Err(error) => {
                let broken = match error.kind() {
                    ErrorKind::UnexpectedEof
                    | ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe => {
                        if connection.received() > before {
                            Broken::Cut
                        } else {
                            Broken::Unanswered
                        }
                    }
                    _ => Broken::Otherwise,
                };
                Err((error, broken))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::load::{Allows, Load, Plan};
    use crate::tally::Tally;
    use crate::traffic::{Grade, Task, Traffic};

    const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwell";
    const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nwe";

    struct Same;

    impl Traffic for Same {
        fn draw(&self, _: &mut Dice) -> Task {
            let judge = |reply: &Reply| {
                if reply.body == b"well" { Grade::Right } else { Grade::Wrong("another".to_owned()) }
            };
            Task { target: "/".to_owned(), judge: Box::new(judge) }
        }
    }

    /// Reads a request a connection, says this, and closes.
    async fn host_that_says(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
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

    async fn nobody() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    /// One client's first request, whose first host does so.
    async fn first_of(first: SocketAddr, fate: Fate) -> Tally {
        let second = host_that_says(WHOLE).await;
        let plan = Plan {
            addresses: vec![first, second],
            clients: 1,
            pause: Duration::from_secs(3600),
            allows: Allows::loss_of_first_host(fate),
        };
        let load = Load::start(plan, Same);
        load.until("it is counted", |tally| tally.lost + tally.total() > 0).await.unwrap();
        load.tally()
    }

    #[tokio::test]
    async fn what_fails_is_lost_unless_it_is_the_fault_that_the_host_goes() {
        for (answer, lost_by) in [
            (None, [Fate::Stays].as_slice()),
            (Some(""), &[Fate::Stays]),
            (Some(HALF), &[Fate::Stays, Fate::Leaves]),
            (Some("no answer at all\r\n\r\n"), &[Fate::Stays, Fate::Leaves, Fate::Dies]),
        ] {
            for fate in [Fate::Stays, Fate::Leaves, Fate::Dies] {
                let first = match answer {
                    Some(answer) => host_that_says(answer).await,
                    None => nobody().await,
                };
                let tally = first_of(first, fate).await;
                let lost = lost_by.contains(&fate);
                let expected = if lost { (1, 0, 0) } else { (0, 1, 1) };
                let seen = (tally.lost, tally.retried, tally.total());
                assert_eq!(seen, expected, "{answer:?} of one that {fate:?}: {:?}", tally.reasons);
            }
        }
    }

    #[tokio::test]
    async fn the_other_hosts_are_there_to_stay() {
        let plan = Plan {
            addresses: vec![nobody().await, nobody().await],
            clients: 1,
            pause: Duration::from_secs(3600),
            allows: Allows::loss_of_first_host(Fate::Dies),
        };
        let load = Load::start(plan, Same);
        load.until("it is counted", |tally| tally.lost > 0).await.unwrap();
        assert!(load.tally().reasons.iter().all(|reason| reason.contains("host 1")), "{:?}", load.tally());
    }

    #[tokio::test]
    async fn a_kept_connection_is_known_to_have_ended_before_anything_is_asked_on_it() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut connection = Connection::try_open(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, _) = listener.accept().await.unwrap();
        assert!(!connection.has_ended());
        drop(accepted);
        e2e::harness::until("its end is known", async || connection.has_ended().then_some(())).await;
    }
}
