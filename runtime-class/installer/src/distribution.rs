//! Who runs containerd on a node, where its configuration is, and how it is restarted.

use std::path::{Path, PathBuf};

use crate::{
    error::{Error, Result},
    node::Node,
};

/// A way of running containerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// For people.
    pub name: &'static str,
    /// containerd's configuration.
    pub config: PathBuf,
    /// It is generated at each start, out of a template beside it.
    pub generated: bool,
    /// How containerd is restarted.
    pub restart: Restart,
}

/// What restarts containerd, and returns once it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The first of these systemd units that the node has.
    Unit(&'static [&'static str]),
    /// A command.
    Command(Vec<String>),
}

const UNIT_DIRECTORIES: [&str; 4] = [
    "/etc/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
const CONTAINERD: &str = "/etc/containerd/config.toml";

/// In the order of asking: one that brings its own containerd comes before the common one, which may lie about unused.
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

/// What runs containerd on this node; `config` where a person says so.
///
/// # Errors
/// When nothing known is found.
pub fn detect(node: &Node, config: Option<&Path>) -> Result<Distribution> {
    let known = known();
    if let Some(config) = config {
        let same = known.into_iter().find(|distribution| distribution.config == config);
        return Ok(same.unwrap_or_else(|| common(config.to_owned())));
    }
    let paths = known.each_ref().map(|distribution| distribution.config.display().to_string()).join(", ");
    let found = known.into_iter().find(|distribution| node.exists(&distribution.config));
    // containerd runs without a configuration too.
    let bare = || unit(node, &["containerd.service"]).map(|_| common(CONTAINERD.into()));
    found.or_else(bare).ok_or(Error::NoContainerd(paths))
}

/// The first of some systemd units that the node has.
pub(crate) fn unit(node: &Node, units: &[&'static str]) -> Option<&'static str> {
    let has =
        |unit: &&str| UNIT_DIRECTORIES.iter().any(|directory| node.exists(&Path::new(directory).join(unit)));
    units.iter().copied().find(|unit| has(unit))
}
