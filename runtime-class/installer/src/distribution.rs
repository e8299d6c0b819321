//! Kubernetes distributions: which containerd the kubelet uses, its configuration, and the service that runs it.

use std::path::{Path, PathBuf};

use crate::{
    configuration::Configuration,
    containerd::{Containerd, DEFAULT_CONFIG},
    error::{Error, Result},
    node::Node,
};

/// How a distribution runs containerd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The distribution's name, for messages.
    pub name: &'static str,
    /// Path on the node of the configuration that is read.
    pub config: PathBuf,
    /// What the configuration is made from.
    pub source: Source,
    /// The systemd service that runs this containerd; `None` if this containerd was not seen running.
    pub service: Option<String>,
}

/// What containerd's configuration is made from, and what the installer therefore changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The file is what somebody wrote, and containerd reads it.
    File,
    /// The distribution generates the file at each start, from a template beside it.
    Template,
    /// The distribution generates the file at each start, and merges the files of this directory into it.
    Directory(PathBuf),
}

/// The name of a containerd that no distribution of Kubernetes brings along.
const COMMON: &str = "containerd";
const K3S: &str = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml";
const RKE2: &str = "/var/lib/rancher/rke2/agent/etc/containerd/config.toml";
/// The end of these paths, whatever the data directory of k3s or RKE2 is.
const RANCHER: &str = "agent/etc/containerd/config.toml";
const K0S: &str = "/etc/k0s/containerd.toml";
/// The first line of k0s's configuration, unless somebody has taken it over.
const K0S_MANAGED: &str = "# k0s_managed=true";
/// What k0s makes from its own settings and from the files of `K0S_DROP_INS`.
const K0S_GENERATED: &str = "/run/k0s/containerd-cri.toml";
const K0S_DROP_INS: &str = "/etc/k0s/containerd.d";
/// microk8s generates its configuration with `sed`, so that this template is a whole configuration.
const MICROK8S: &str = "/var/snap/microk8s/current/args/containerd-template.toml";
/// The configuration of CRI-O, which OpenShift uses.
const CRIO: [&str; 2] = ["/etc/crio/crio.conf", "/etc/crio/crio.conf.d"];
const UNITS: [&str; 4] = [
    "/etc/systemd/system/containerd.service",
    "/usr/local/lib/systemd/system/containerd.service",
    "/usr/lib/systemd/system/containerd.service",
    "/lib/systemd/system/containerd.service",
];

/// Finds the containerd that the kubelet uses. `running` are the containerds of the node; `config` is what the user passes by
/// `--config`.
///
/// A containerd of a distribution of Kubernetes goes before any other, which may be Docker's. Among others, one whose
/// configuration has the CRI plugin goes before one without.
///
/// # Errors
/// [`Error::NoContainerd`] when none runs and the node has none of the known configurations; [`Error::Ambiguous`] when several
/// could be meant.
pub fn detect(node: &Node, running: &[Containerd], config: Option<&Path>) -> Result<Distribution> {
    let mut found = Vec::new();
    for containerd in running {
        let distribution = of(node, &containerd.config, Some(&containerd.service))?;
        if config.is_none_or(|config| config == containerd.config || config == distribution.config) {
            found.push(distribution);
        }
    }
    if found.is_empty() {
        return match config {
            Some(config) => of(node, config, None),
            None => of_files(node),
        };
    }
    keep_if_any(&mut found, |one| one.name != COMMON);
    keep_if_any(&mut found, |one| one.has_cri(node));
    match <[Distribution; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(found) => {
            let each = found.iter().map(|one| {
                format!("{} with {}", one.service.as_deref().unwrap_or_default(), one.config.display())
            });
            Err(Error::Ambiguous(each.collect::<Vec<_>>().join(", ")))
        }
    }
}

/// Keeps only those that are `preferred`, if there are any.
fn keep_if_any(found: &mut Vec<Distribution>, preferred: impl Fn(&Distribution) -> bool) {
    if found.iter().any(&preferred) {
        found.retain(preferred);
    }
}

impl Distribution {
    /// Whether the kubelet could use this containerd.
    fn has_cri(&self, node: &Node) -> bool {
        let text = node.read(&self.config).ok().flatten();
        text.is_none_or(|text| Configuration::read(&text).is_ok())
    }
}

/// The distribution of a containerd that reads `config`.
fn of(node: &Node, config: &Path, service: Option<&str>) -> Result<Distribution> {
    let is_rke2 = config == Path::new(RKE2) || service.is_some_and(|service| service.starts_with("rke2"));
    let (name, config, source) = if config.ends_with(RANCHER) {
        (if is_rke2 { "rke2" } else { "k3s" }, config, Source::Template)
    } else if config.starts_with("/var/snap/microk8s") {
        // The containerd of microk8s reads the file that is generated from the template.
        ("microk8s", Path::new(MICROK8S), Source::File)
    } else if config == Path::new(K0S) && is_managed_by_k0s(node)? {
        ("k0s", Path::new(K0S_GENERATED), Source::Directory(K0S_DROP_INS.into()))
    } else {
        (COMMON, config, Source::File)
    };
    Ok(Distribution { name, config: config.to_owned(), source, service: service.map(str::to_owned) })
}

fn is_managed_by_k0s(node: &Node) -> Result<bool> {
    let text = node.read(Path::new(K0S))?;
    // Older versions begin the file with an empty line.
    Ok(text.is_some_and(|text| text.trim_start().starts_with(K0S_MANAGED)))
}

/// The distribution that the node's files speak for, where no containerd runs: in the build of a node's image.
fn of_files(node: &Node) -> Result<Distribution> {
    let known = [K3S, RKE2, K0S, MICROK8S, DEFAULT_CONFIG];
    let found = known.into_iter().find(|path| node.exists(Path::new(path)));
    // containerd also runs without a configuration, on its defaults.
    let bare = || UNITS.iter().any(|unit| node.exists(Path::new(unit))).then_some(DEFAULT_CONFIG);
    let Some(path) = found.or_else(bare) else {
        let is_crio = CRIO.iter().any(|path| node.exists(Path::new(path)));
        return Err(if is_crio {
            Error::Unsupported("CRI-O".to_owned())
        } else {
            Error::NoContainerd(known.join(", "))
        });
    };
    of(node, Path::new(path), None)
}
