//! The plan of a load: the hosts, the clients, and the failures that are expected.

use std::net::SocketAddr;
use std::time::Duration;

/// The hosts, the clients, and the expected failures.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The hosts. Each can answer each request.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The number of clients. Each keeps one connection.
    pub(crate) clients: usize,
    /// A client's pause between two requests.
    pub(crate) pause: Duration,
    /// The failures that the fault explains.
    pub(crate) allows: Allows,
}

/// The failures that a fault explains. Each other failure that a client sees is a lost request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allows {
    /// Documented errors.
    pub(crate) errors: &'static [u16],
    /// What happens to the first host. The other hosts keep running.
    pub(crate) first_host: HostFault,
}

/// What happens to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostFault {
    /// The host keeps running, and answers each request.
    None,
    /// The host gets SIGTERM, and finishes each response that it begins. A client cannot know why a response did not begin; the host's
    /// log tells whether each accepted request was answered.
    Terminated,
    /// The host gets SIGKILL, and may break off anything.
    Killed,
}

impl Allows {
    /// Each request is answered correctly.
    pub(crate) const NOTHING: Self = Self::errors(&[]);

    /// Each request is answered, correctly or by one of these errors.
    pub(crate) const fn errors(errors: &'static [u16]) -> Self {
        Self { errors, first_host: HostFault::None }
    }

    /// Each request is answered correctly, by another host if the first one has ended.
    pub(crate) const fn loss_of_first_host(first_host: HostFault) -> Self {
        Self { errors: &[], first_host }
    }
}
