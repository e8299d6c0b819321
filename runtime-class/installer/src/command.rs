//! Commands that run on the node, not in this program's container.

use std::{
    fs::File,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::Path,
    process::Command,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{
    distribution::{Restart, unit},
    error::{Error, Result},
    node::Node,
};

/// The first argument that makes this program run the rest on the node.
pub const ON_NODE: &str = "on-node";
/// The node's own first process: its mount namespace is the node's. Needs `hostPID`.
pub const MOUNTS_OF_NODE: &str = "/proc/1/ns/mnt";

/// Restarts containerd, and returns once it is up.
///
/// # Errors
/// When the node has none of the units, or the command fails.
pub fn restart(node: &Node, restart: &Restart) -> Result<()> {
    let command = match restart {
        Restart::Command(command) => command.clone(),
        Restart::Unit(units) => {
            let missing = || Error::Command {
                command: format!("systemctl restart {}", units.join(" or ")),
                reason: "the node has no such unit: name the command by --restart, or --restart=never"
                    .to_owned(),
            };
            ["systemctl", "restart", unit(node, units).ok_or_else(missing)?].map(str::to_owned).to_vec()
        }
    };
    run(node, &command)
}

fn run(node: &Node, command: &[String]) -> Result<()> {
    let failed = |reason: String| Error::Command { command: command.join(" "), reason };
    let mut runner = if node.is_here() {
        let (program, arguments) = command.split_first().ok_or_else(|| failed("it is empty".to_owned()))?;
        let mut runner = Command::new(program);
        runner.args(arguments);
        runner
    } else {
        let mut runner = Command::new("/proc/self/exe");
        runner.arg(ON_NODE).args(command);
        runner
    };
    let output = runner.output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}: {}", output.status, said.trim())))
}

/// Becomes `command`, in the node's mount namespace. Returns only when it cannot.
#[must_use]
pub fn become_on_node(namespace: &Path, command: &[String]) -> Error {
    let failed = |reason: String| Error::Command { command: command.join(" "), reason };
    let Some((program, arguments)) = command.split_first() else {
        return failed("it is empty".to_owned());
    };
    let entered = File::open(namespace)
        .and_then(|file| Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Mount))?));
    if let Err(error) = entered {
        return failed(format!("{}: {error} (the pod needs hostPID and privileges)", namespace.display()));
    }
    // The node's own search path: the container's may name nothing that the node has.
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin";
    failed(Command::new(program).args(arguments).env("PATH", path).current_dir("/").exec().to_string())
}
