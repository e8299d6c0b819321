//! Metrics of the process from `/proc`, with the names that all Prometheus clients use. There are no values on
//! systems other than Linux.

use std::fs;

use wasi_http_host_core::{Exposition, MetricKind};

/// Clock ticks per second in `/proc`. The kernel's interface fixes this value on every architecture that Rust
/// supports.
const TICKS_PER_SECOND: f64 = 100.0;
/// The unit of `VmRSS`.
const KIB: u64 = 1024;

/// Writes the metrics of memory, processor time and open files.
pub fn expose(to: &mut Exposition) {
    if let Some(kib) = field(&read("/proc/self/status"), "VmRSS:") {
        to.gauge("process_resident_memory_bytes", "Resident memory.", kib * KIB);
    }
    if let Some(seconds) = cpu_seconds(&read("/proc/self/stat")) {
        to.family("process_cpu_seconds_total", MetricKind::Counter, "User and system CPU time.");
        to.sample("process_cpu_seconds_total", &[], seconds);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        to.gauge("process_open_fds", "Open file descriptors.", open.count());
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Reads fields 14 and 15 of `/proc/self/stat`. Fields are counted after the command's name, because the name may
/// contain spaces and brackets. See proc_pid_stat(5).
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_an_odd_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100 1000 10";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(field("VmPeak:\t 9 kB\nVmRSS:\t    2048 kB\n", "VmRSS:"), Some(2048));
    }
}
