//! One client of a load. A request that fails is lost, unless the fault ends the client's host: then the client asks another host.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use testkit::{
    DEADLINE,
    http::{Connection, Request, Response},
};
use tokio::time::{sleep, timeout};

use crate::load_state::LoadState;
use crate::plan::HostFault;

/// Why a request has no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RequestFailure {
    /// The connection was refused.
    Refused,
    /// The connection ended before the response began.
    NoResponse,
    /// The connection ended within the response.
    Truncated,
    /// No response in time, or no HTTP.
    Other,
}

/// Whether the fault explains the failure.
fn explains(fault: HostFault, failure: RequestFailure) -> bool {
    match fault {
        HostFault::None => false,
        HostFault::Terminated => matches!(failure, RequestFailure::Refused | RequestFailure::NoResponse),
        HostFault::Killed => failure != RequestFailure::Other,
    }
}

/// A client.
pub(crate) struct Client {
    state: Arc<LoadState>,
    number: usize,
    /// The index of the current host, modulo the number of hosts.
    host: usize,
    kept: Option<Connection>,
}

impl Client {
    /// Clients with consecutive numbers start with different hosts.
    pub(crate) fn new(state: Arc<LoadState>, number: usize) -> Self {
        Self { state, number, host: number, kept: None }
    }

    /// Sends requests until the load stops.
    pub(crate) async fn run(mut self) {
        let mut random = Rng::new();
        while !self.state.is_stopped() {
            let request = self.state.traffic.draw(&mut random);
            let begun = Instant::now();
            if let Some(mine) = self.state.tally().begun.get_mut(self.number) {
                *mine = Some(begun);
            }
            let answer = self.send(&request.target).await;
            let grade = answer.as_ref().map(|reply| (request.check)(reply));
            {
                let mut tally = self.state.tally();
                tally.slowest = tally.slowest.max(begun.elapsed());
                match grade {
                    Ok(grade) => tally.count(&request.target, grade, self.state.plan.allows.errors),
                    Err(reason) => tally.lose(format!("GET {}: {reason}", request.target)),
                }
            }
            sleep(self.state.plan.pause).await;
        }
    }

    /// Sends the request to the current host, and to the next host if the fault explains the failure: all requests are idempotent.
    async fn send(&mut self, target: &str) -> Result<Response, String> {
        let hosts = self.state.plan.addresses.len();
        let mut others = hosts.saturating_sub(1);
        loop {
            let host = self.host % hosts.max(1);
            let fault = if host == 0 { self.state.plan.allows.first_host } else { HostFault::None };
            match self.send_once(target, host).await {
                Ok(reply) => {
                    if let Some(answers) = self.state.tally().answers.get_mut(host) {
                        *answers += 1;
                    }
                    return Ok(reply);
                }
                Err((_, failure)) if explains(fault, failure) && others > 0 => {}
                Err((error, failure)) => {
                    return Err(format!("no response of host {host}: {failure:?}: {error}"));
                }
            }
            others -= 1;
            self.host += 1;
            let mut tally = self.state.tally();
            tally.retried += 1;
            tally.last_retried = Some(Instant::now());
        }
    }

    async fn send_once(
        &mut self,
        target: &str,
        host: usize,
    ) -> Result<Response, (io::Error, RequestFailure)> {
        let Some(address) = self.state.plan.addresses.get(host).copied() else {
            return Err((io::Error::other("no host"), RequestFailure::Other));
        };
        // A server may close an idle connection at any time: that is no failure.
        let mut kept = self.kept.take();
        if kept.as_mut().is_some_and(Connection::has_ended) {
            kept = None;
        }
        let mut connection = match kept {
            Some(connection) => connection,
            None => match timeout(DEADLINE, Connection::try_open(address)).await {
                Ok(Ok(connection)) => connection,
                Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                    return Err((error, RequestFailure::Refused));
                }
                Ok(Err(error)) => return Err((error, RequestFailure::Other)),
                Err(late) => return Err((late.into(), RequestFailure::Other)),
            },
        };
        let before = connection.received();
        let sending = async {
            connection.write(&Request::get(target).to(address).bytes()).await?;
            connection.response().await
        };
        match sending.await {
            Ok(reply) => {
                if reply.header("connection") != Some("close") {
                    self.kept = Some(connection);
                }
                Ok(reply)
            }
            Err(error) => {
                let failure = match error.kind() {
                    ErrorKind::UnexpectedEof
                    | ErrorKind::ConnectionReset
                    | ErrorKind::ConnectionAborted
                    | ErrorKind::BrokenPipe => {
                        if connection.received() > before {
                            RequestFailure::Truncated
                        } else {
                            RequestFailure::NoResponse
                        }
                    }
                    _ => RequestFailure::Other,
                };
                Err((error, failure))
            }
        }
    }
}
