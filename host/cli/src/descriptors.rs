//! The limit of open files, and how clients and outbound connections share it
//! (`docs/decisions/0029-no-more-clients-than-files.md`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Files that are open besides connections: listeners, event queues, the log, probes, stores and mounted files.
const OTHERS: u64 = 128;

/// Raises the limit of open files to the maximum that the system allows. The inherited limit is usually for programs
/// that wait with `select`, which supports only 1024 files.
pub fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // If the system refuses, the current limit bounds the connections.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

/// `--max-connections`, or a lower number that leaves files for everything else. A process without free files can
/// neither answer probes nor send requests; clients beyond the limit only wait to be accepted.
pub(crate) fn bounded(max_connections: usize, max_outbound: usize) -> usize {
    let wanted = max_connections;
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let outbound = u64::try_from(max_outbound).unwrap_or(u64::MAX);
    let left = usize::try_from(left_for_clients(limit, outbound)).unwrap_or(usize::MAX);
    if left < wanted {
        tracing::warn!(
            limit,
            max_connections = left,
            "--max-connections exceeds the process's limit of open files (ulimit -n): the host opens fewer connections"
        );
    }
    wanted.min(left)
}

/// The most outbound connections of all components together: the files that clients and everything else leave.
pub(crate) fn for_outbound(max_connections: usize, max_outbound: usize) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return usize::MAX };
    let clients = u64::try_from(max_connections).unwrap_or(u64::MAX);
    let outbound = u64::try_from(max_outbound).unwrap_or(u64::MAX);
    usize::try_from(left_for_outbound(limit, clients, outbound)).unwrap_or(usize::MAX)
}

/// At least half of the limit.
fn left_for_clients(limit: u64, outbound: u64) -> u64 {
    limit - outbound.saturating_add(OTHERS).min(limit / 2)
}

/// At least half of the files that clients leave.
fn left_for_outbound(limit: u64, clients: u64, outbound: u64) -> u64 {
    let left = limit - clients.min(left_for_clients(limit, outbound));
    left - OTHERS.min(left / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_files_for_what_serves_them() {
        assert_eq!(left_for_clients(1_048_576, 256), 1_048_576 - 384);
        assert_eq!(left_for_clients(1024, 256), 640);
        assert_eq!(left_for_clients(128, 256), 64);
        assert_eq!(left_for_clients(1, u64::MAX), 1);
    }

    #[test]
    fn however_many_components_ask_others_something_is_left_for_the_rest() {
        assert_eq!(left_for_outbound(1_048_576, 10_000, 256), 1_048_576 - 10_000 - 128);
        assert_eq!(left_for_outbound(1024, 10_000, 256), 256);
        assert_eq!(left_for_outbound(1024, 100, 256), 796);
        assert_eq!(left_for_outbound(128, 10_000, 256), 32);
        for limit in [2, 3, 64, 128, 256, 1024, u64::MAX] {
            for (clients, outbound) in [(1, 1), (1024, 256), (u64::MAX, u64::MAX)] {
                let clients = clients.min(left_for_clients(limit, outbound));
                let others = left_for_outbound(limit, clients, outbound);
                assert!(
                    others > 0 && clients > 0 && others <= limit - clients,
                    "{limit} {clients} {outbound}"
                );
            }
        }
    }
}
