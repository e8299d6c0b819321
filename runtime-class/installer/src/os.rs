//! The node's operating system, as os-release(5) names it.

use std::path::Path;

use crate::{
    error::{Error, Result},
    node::Node,
};

/// Where the file is. In `/etc`, it is a symbolic link on most systems.
const FILES: [&str; 2] = ["/usr/lib/os-release", "/etc/os-release"];
/// Systems whose programs and configuration of containerd cannot be changed on a running node.
const IMMUTABLE: [&str; 2] = ["bottlerocket", "talos"];

/// Refuses systems on which the shim cannot be installed.
///
/// # Errors
/// [`Error::Unsupported`] with the system's name.
pub(crate) fn check(node: &Node) -> Result<()> {
    let text = FILES.iter().find_map(|path| node.read(Path::new(path)).ok().flatten()).unwrap_or_default();
    let id = text.lines().find_map(|line| line.strip_prefix("ID=")).unwrap_or_default().trim_matches('"');
    if IMMUTABLE.contains(&id) { Err(Error::Unsupported(id.to_owned())) } else { Ok(()) }
}
