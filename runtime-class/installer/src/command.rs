//! Runs commands on the node instead of in the installer's container.

use std::{
    fs::File,
    os::{fd::AsFd as _, unix::process::CommandExt as _},
    path::Path,
    process::Command,
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::{
    error::{Error, Result},
    node::Node,
};

/// The installer's own subcommand that runs its arguments on the node.
pub const ON_NODE: &str = "on-node";
/// The mount namespace of the node's process 1. A pod sees it only with `hostPID`.
pub const NODE_MOUNT_NAMESPACE: &str = "/proc/1/ns/mnt";

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit status as text; `None` if the command succeeded.
    pub failure: Option<String>,
    /// The standard output.
    pub stdout: String,
    /// The standard error.
    pub stderr: String,
}

/// Runs a command on the node: the program and its arguments.
pub type Runner = dyn Fn(&Node, &[&str]) -> Result<Outcome>;

/// Whether systemd has a service active, and in which state it is otherwise (`inactive`, `failed`, `activating`).
///
/// # Errors
/// When systemctl cannot be run.
pub(crate) fn state(run: &Runner, node: &Node, service: &str) -> Result<String> {
    // The exit status says only whether the state is `active`.
    let outcome = run(node, &["systemctl", "is-active", service])?;
    let state = outcome.stdout.trim();
    Ok(if state.is_empty() { outcome.stderr.trim().to_owned() } else { state.to_owned() })
}

/// Runs a command that must succeed.
///
/// # Errors
/// When it does not.
pub(crate) fn must(run: &Runner, node: &Node, command: &[&str]) -> Result<()> {
    let outcome = run(node, command)?;
    match outcome.failure {
        None => Ok(()),
        Some(status) => Err(Error::Command {
            command: command.join(" "),
            reason: format!("{status}: {}", outcome.stderr.trim()),
        }),
    }
}

/// Runs a command on the node. This is the [`Runner`] of the program.
///
/// # Errors
/// When the command cannot be started.
pub fn run(node: &Node, command: &[&str]) -> Result<Outcome> {
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
    Ok(Outcome {
        failure: (!output.status.success()).then(|| output.status.to_string()),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
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
