//! The containerds that run on the node. The command line of a running containerd names the configuration that is in use; files of
//! another containerd, or of a distribution that was removed, may lie beside it.

use std::path::{Path, PathBuf};

use crate::process::{self, file_name};

/// Where containerd reads its configuration, unless its command line says otherwise.
pub(crate) const DEFAULT_CONFIG: &str = "/etc/containerd/config.toml";
/// Commands of the program containerd that are not the daemon. Each shim runs `containerd publish` for each event.
const COMMANDS: [&str; 3] = ["config", "publish", "oci-hook"];

/// A running containerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Containerd {
    /// Path of its configuration on the node.
    pub config: PathBuf,
    /// The systemd service that runs it.
    pub service: String,
}

/// The containerds that services of the node run. `proc` is the directory `/proc`. A containerd inside a container is none of them.
#[must_use]
pub fn running(proc: &Path) -> Vec<Containerd> {
    let mut found: Vec<_> = process::all(proc)
        .filter_map(|process| {
            let config = config(&process.arguments())?;
            Some(Containerd { config, service: process.service()? })
        })
        .collect();
    // `/proc` has no order. A daemon may be seen twice while it forks.
    found.sort_by(|a, b| (&a.service, &a.config).cmp(&(&b.service, &b.config)));
    found.dedup();
    found
}

/// The configuration of a containerd with this command line; `None` if it is another program.
fn config(arguments: &[String]) -> Option<PathBuf> {
    let (program, arguments) = arguments.split_first()?;
    if file_name(program) != "containerd" || arguments.iter().any(|word| COMMANDS.contains(&word.as_str())) {
        return None;
    }
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let flag = word.trim_start_matches('-');
        let value = match flag.split_once('=') {
            _ if flag.len() == word.len() => continue,
            Some(("config" | "c", value)) => Some(value),
            None if flag == "config" || flag == "c" => words.next().map(String::as_str),
            _ => continue,
        };
        return value.map(PathBuf::from);
    }
    Some(DEFAULT_CONFIG.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_names_the_configuration() {
        for (line, expected) in [
            ("/usr/bin/containerd", Some("/etc/containerd/config.toml")),
            ("/usr/bin/containerd --log-level info", Some("/etc/containerd/config.toml")),
            (
                "containerd -c /var/lib/rancher/k3s/agent/etc/containerd/config.toml",
                Some("/var/lib/rancher/k3s/agent/etc/containerd/config.toml"),
            ),
            (
                "/var/lib/k0s/bin/containerd --root=/r --config=/etc/k0s/containerd.toml",
                Some("/etc/k0s/containerd.toml"),
            ),
            (
                "/usr/bin/containerd --config /usr/share/containerd/config.toml",
                Some("/usr/share/containerd/config.toml"),
            ),
            ("/usr/bin/containerd -address /run/c.sock publish --topic /tasks/exit", None),
            ("/usr/bin/containerd config dump", None),
            ("/usr/bin/containerd-shim-runc-v2 -id containerd", None),
            ("/bin/cat /usr/bin/containerd", None),
            ("/usr/bin/containerd --config", None),
        ] {
            let words: Vec<_> = line.split(' ').map(str::to_owned).collect();
            assert_eq!(config(&words), expected.map(PathBuf::from), "{line}");
        }
        assert_eq!(config(&[]), None);
    }
}
