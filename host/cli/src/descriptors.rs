//! The limit of open files, and how clients and outbound connections share it
//! (`docs/decisions/0029-no-more-clients-than-files.md`).

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wasi_http_host_manifest::Manifest;
use wasi_http_host_runtime::most_open_files;

use crate::config::Config;

/// Files that are open besides connections and mounts: listeners, event queues, the log, probes and stores.
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

/// The most files of mounts: the mounted directories of each instance, and what components open in these.
pub(crate) fn of_mounts(config: &Config, manifest: &Manifest) -> u64 {
    let instances = u64::from(config.application.instances.max_instances.get());
    let mounts = manifest.components.iter().map(|component| component.files.len() as u64);
    mounts
        .filter(|mounts| *mounts > 0)
        .map(|mounts| mounts.saturating_mul(instances).saturating_add(most_open_files()))
        .fold(0, u64::saturating_add)
}

/// `--max-connections`, or a lower number that leaves files for everything else. A process without free files can
/// neither answer probes nor send requests; clients beyond the limit only wait to be accepted.
pub(crate) fn bounded(config: &Config, of_mounts: u64) -> usize {
    let wanted = config.server.max_connections.get();
    let Some(limit) = getrlimit(Resource::Nofile).current else { return wanted };
    let outbound = config.application.outbound.outbound_max_concurrency.get() as u64;
    let others = of_mounts.saturating_add(OTHERS);
    let left = usize::try_from(left_for_clients(limit, outbound, others)).unwrap_or(usize::MAX);
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
pub(crate) fn for_outbound(config: &Config, of_mounts: u64) -> usize {
    let Some(limit) = getrlimit(Resource::Nofile).current else { return usize::MAX };
    let clients = config.server.max_connections.get() as u64;
    let outbound = config.application.outbound.outbound_max_concurrency.get() as u64;
    let others = of_mounts.saturating_add(OTHERS);
    usize::try_from(left_for_outbound(limit, clients, outbound, others)).unwrap_or(usize::MAX)
}

/// At least half of the limit.
fn left_for_clients(limit: u64, outbound: u64, others: u64) -> u64 {
    limit - outbound.saturating_add(others).min(limit / 2)
}

/// At least half of the files that clients leave.
fn left_for_outbound(limit: u64, clients: u64, outbound: u64, others: u64) -> u64 {
    let left = limit - clients.min(left_for_clients(limit, outbound, others));
    left - others.min(left / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_files_for_what_serves_them() {
        assert_eq!(left_for_clients(1_048_576, 256, OTHERS), 1_048_576 - 384);
        assert_eq!(left_for_clients(1024, 256, OTHERS), 640);
        assert_eq!(left_for_clients(128, 256, OTHERS), 64);
        assert_eq!(left_for_clients(1, u64::MAX, OTHERS), 1);
    }

    #[test]
    fn however_many_components_ask_others_something_is_left_for_the_rest() {
        assert_eq!(left_for_outbound(1_048_576, 10_000, 256, OTHERS), 1_048_576 - 10_000 - 128);
        assert_eq!(left_for_outbound(1024, 10_000, 256, OTHERS), 256);
        assert_eq!(left_for_outbound(1024, 100, 256, OTHERS), 796);
        assert_eq!(left_for_outbound(128, 10_000, 256, OTHERS), 32);
        assert_eq!(left_for_outbound(20_000, 8192, 256, OTHERS + 1408), 20_000 - 8192 - 128 - 1408);
        assert_eq!(left_for_outbound(1024, 8192, 256, u64::MAX), 256);
        for limit in [2, 3, 64, 128, 256, 1024, u64::MAX] {
            for (clients, outbound) in [(1, 1), (1024, 256), (u64::MAX, u64::MAX)] {
                let clients = clients.min(left_for_clients(limit, outbound, OTHERS));
                let others = left_for_outbound(limit, clients, outbound, OTHERS);
                assert!(
                    others > 0 && clients > 0 && others <= limit - clients,
                    "{limit} {clients} {outbound}"
                );
            }
        }
    }
}
