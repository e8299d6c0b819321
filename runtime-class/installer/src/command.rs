//! Runs commands on the node instead of in the installer's container.

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

/// The installer's own subcommand that runs its arguments on the node.
pub const ON_NODE: &str = "on-node";
/// The mount namespace of the node's process 1. A pod sees it only with `hostPID`.
pub const NODE_MOUNT_NAMESPACE: &str = "/proc/1/ns/mnt";

/// Restarts containerd, and returns when the restart command has succeeded.
///
/// # Errors
/// When the node has none of the systemd units, or the command fails.
pub fn restart(node: &Node, restart: &Restart) -> Result<()> {
    let command = match restart {
        Restart::Command(command) => command.clone(),
        Restart::Unit(units) => {
            let missing = || Error::Command {
                command: format!("systemctl restart {}", units.join(" or ")),
                reason:
                    "the node has no such unit: pass the restart command by --restart, or --restart=never"
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
        let (program, arguments) =
            command.split_first().ok_or_else(|| failed("the command is empty".to_owned()))?;
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
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(failed(format!("{}: {}", output.status, stderr.trim())))
}

/// Enters the mount namespace and replaces this process by `command`. Returns only on failure.
#[must_use]
pub fn exec_on_node(namespace: &Path, command: &[String]) -> Error {
    let failed = |reason: String| Error::Command { command: command.join(" "), reason };
    let Some((program, arguments)) = command.split_first() else {
        return failed("the command is empty".to_owned());
    };
    let entered = File::open(namespace)
        .and_then(|file| Ok(move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Mount))?));
    if let Err(error) = entered {
        return failed(format!(
            "enter {}: {error}: the pod needs hostPID and a privileged container",
            namespace.display()
        ));
    }
    // A search path for the node: the container's PATH need not fit the node.
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/snap/bin";
    failed(Command::new(program).args(arguments).env("PATH", path).current_dir("/").exec().to_string())
}
