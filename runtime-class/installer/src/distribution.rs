//! Kubernetes distributions: the path of containerd's configuration, and the command that restarts containerd.

use std::path::{Path, PathBuf};

use crate::{
    error::{Error, Result},
    node::Node,
};

/// How a distribution runs containerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The distribution's name, for messages.
    pub name: &'static str,
    /// Path of containerd's configuration on the node.
    pub config: PathBuf,
    /// The distribution generates the configuration at each start from a template beside it.
    pub generated: bool,
    /// The way to restart containerd, unless the user passes `--restart`.
    pub restart: Restart,
}

/// The way to restart containerd. A restart returns when containerd is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Restart the first of these systemd units that the node has.
    Unit(&'static [&'static str]),
    /// Run a command: the program and its arguments.
    Command(Vec<String>),
}

const UNIT_DIRECTORIES: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const CONTAINERD: &str = "/etc/containerd/config.toml";

/// The known distributions in the order of detection. Those with a containerd of their own come first, because a node may
/// also have an unused `/etc/containerd/config.toml`.
fn known() -> [Distribution; 4] {
    let restart_snap = ["snap", "restart", "microk8s.daemon-containerd"].map(str::to_owned).to_vec();
    [
        Distribution {
            name: "k3s",
            config: "/var/lib/rancher/k3s/agent/etc/containerd/config.toml".into(),
            generated: true,
            restart: Restart::Unit(&["k3s-agent.service", "k3s.service"]),
        },
        Distribution {
            name: "rke2",
            config: "/var/lib/rancher/rke2/agent/etc/containerd/config.toml".into(),
            generated: true,
            restart: Restart::Unit(&["rke2-agent.service", "rke2-server.service"]),
        },
        Distribution {
            name: "microk8s",
            config: "/var/snap/microk8s/current/args/containerd-template.toml".into(),
            generated: false,
            restart: Restart::Command(restart_snap),
        },
        common(CONTAINERD.into()),
    ]
}

fn common(config: PathBuf) -> Distribution {
    Distribution {
        name: "containerd",
        config,
        generated: false,
        restart: Restart::Unit(&["containerd.service"]),
    }
}

/// Detects the node's distribution. `config` is the path that the user passes by `--config`.
///
/// # Errors
/// [`Error::NoContainerd`] when the node has none of the known configurations and no unit `containerd.service`.
pub fn detect(node: &Node, config: Option<&Path>) -> Result<Distribution> {
    let known = known();
    if let Some(config) = config {
        let same = known.into_iter().find(|distribution| distribution.config == config);
        return Ok(same.unwrap_or_else(|| common(config.to_owned())));
    }
    let paths = known.each_ref().map(|distribution| distribution.config.display().to_string()).join(", ");
    let found = known.into_iter().find(|distribution| node.exists(&distribution.config));
    // containerd also runs without a configuration, on its defaults.
    let bare = || unit(node, &["containerd.service"]).map(|_| common(CONTAINERD.into()));
    found.or_else(bare).ok_or(Error::NoContainerd(paths))
}

/// The first of `units` that the node has.
pub(crate) fn unit(node: &Node, units: &[&'static str]) -> Option<&'static str> {
    let has =
        |unit: &&str| UNIT_DIRECTORIES.iter().any(|directory| node.exists(&Path::new(directory).join(unit)));
    units.iter().copied().find(|unit| has(unit))
}
