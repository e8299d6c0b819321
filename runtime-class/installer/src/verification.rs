//! The verification of images on a node: the verifier's program, the policy, and the link by which containerd finds the program.
//!
//! containerd runs every program in a directory before it pulls an image, and reads the directory each time. So nothing is restarted. The
//! link is the switch: it comes last at the installation, and goes first at the removal.

use std::{
    fs,
    path::{Path, PathBuf},
};

use wasi_http_image_verifier::policy::{DIRECTORY, FILE, Policy};

use crate::{
    cluster::Cluster,
    configuration::Configuration,
    distribution::Distribution,
    error::{Error, Result},
    label::NodeObject,
    node::Node,
    runtime::VERIFIER,
};

/// Mode of the policy's files. One may hold the login of a registry.
const PRIVATE: u32 = 0o600;
/// The first containerd whose Kubernetes plugin pulls by the transfer service, which runs verifiers.
const CONTAINERD_MIN: (u32, u32) = (2, 1);

/// What is written to the node, after everything was checked.
#[derive(Debug)]
pub(crate) struct Verification {
    /// The policy's files, `policy.toml` last: it names the others.
    files: Vec<(PathBuf, Vec<u8>)>,
    link: PathBuf,
}

impl Verification {
    /// Reads the policy in the directory `source`, and checks that the node's containerd obeys verifiers.
    ///
    /// # Errors
    /// When the policy is wrong, or containerd would pull images without a verifier.
    pub(crate) fn plan(
        node: &Node,
        distribution: &Distribution,
        source: &Path,
        cluster: Option<&Cluster>,
    ) -> Result<Self> {
        let policy = Policy::read(source).map_err(|error| Error::ImagePolicy(error.to_string()))?;
        let (files, main): (Vec<_>, Vec<_>) = policy.files().iter().partition(|name| *name != FILE);
        let read = |name: &String| {
            let path = source.join(name);
            let content = fs::read(&path).map_err(Error::file(path))?;
            Ok((Path::new(DIRECTORY).join(name), content))
        };
        let files = files.into_iter().chain(main).map(read).collect::<Result<_>>()?;
        if let Some(cluster) = cluster {
            check_version(NodeObject::of(cluster)?.runtime_version())?;
        }
        let link = link(node, distribution)?;
        let remedy = "let `bin_dir` of containerd's plugin io.containerd.image-verifier.v1.bindir name a directory that can be written to";
        node.check_writable(link.parent().unwrap_or(&link), remedy)?;
        Ok(Self { files, link })
    }

    /// Whether the node has something else.
    pub(crate) fn is_outdated(&self, node: &Node, program: &Path) -> bool {
        let differs =
            |(path, content): &(PathBuf, Vec<u8>)| fs::read(node.path(path)).ok().as_ref() != Some(content);
        self.files.iter().any(differs)
            || fs::read_link(node.path(&self.link)).ok().as_deref() != Some(program)
    }

    /// Writes the policy, removes files of an earlier one, and makes the link to `program`, a path on the node.
    ///
    /// # Errors
    /// When a file cannot be written. A policy that is not complete refuses images.
    pub(crate) fn apply(&self, node: &Node, program: &Path) -> Result<()> {
        for (path, content) in &self.files {
            node.write(path, content, PRIVATE)?;
        }
        for name in node.names(Path::new(DIRECTORY))? {
            let path = Path::new(DIRECTORY).join(name);
            if !self.files.iter().any(|(ours, _)| *ours == path) {
                node.remove(&path)?;
            }
        }
        node.link(&self.link, program)
    }
}

/// Whether containerd runs the verifier.
///
/// # Errors
/// When containerd's configuration cannot be read.
pub(crate) fn is_on(node: &Node, distribution: &Distribution) -> Result<bool> {
    Ok(link(node, distribution).is_ok_and(|link| node.exists(&link)))
}

/// Removes the link and the policy. Without them, containerd pulls every image.
///
/// # Errors
/// When a file cannot be removed.
pub(crate) fn remove(node: &Node, distribution: &Distribution) -> Result<()> {
    if let Ok(link) = link(node, distribution) {
        node.remove(&link)?;
    }
    node.remove_tree(Path::new(DIRECTORY))
}

/// Where containerd looks for the verifier.
fn link(node: &Node, distribution: &Distribution) -> Result<PathBuf> {
    let path = &distribution.config;
    let wrong = |reason| Error::Configuration { path: path.clone(), reason };
    // Without a configuration, containerd has the version and the directory of its defaults: the node's object tells which version it is.
    let text = node.read(path)?.unwrap_or_else(|| "version = 3\n".to_owned());
    let directory = Configuration::read(&text).map_err(wrong)?.verifiers().map_err(wrong)?;
    Ok(Path::new(&directory).join(VERIFIER))
}

/// Refuses a containerd that pulls without verifiers. `told` is the kubelet's `containerd://VERSION`.
fn check_version(told: &str) -> Result<()> {
    let version = told.strip_prefix("containerd://").unwrap_or(told).trim_start_matches('v');
    let mut numbers = version.split('.').map_while(|part| part.parse::<u32>().ok());
    let found = numbers.next().zip(numbers.next());
    if found.is_some_and(|found| found >= CONTAINERD_MIN) {
        return Ok(());
    }
    let (major, minor) = CONTAINERD_MIN;
    Err(Error::ImagePolicy(format!(
        "the node runs {told:?}, and image verifiers need containerd {major}.{minor} or later: pulls would not be verified"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_containerd_before_2_1_is_refused() {
        for good in
            ["containerd://2.1.0", "containerd://2.4.2", "containerd://v2.10.0-rc.1", "containerd://3.0.0"]
        {
            assert!(check_version(good).is_ok(), "{good}");
        }
        for bad in [
            "containerd://1.7.27",
            "containerd://2.0.5",
            "containerd://",
            "",
            "cri-o://1.34.0",
            "containerd://x",
        ] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
    }
}
