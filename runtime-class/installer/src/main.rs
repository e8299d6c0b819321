//! The command line of the installer.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use wasi_http_installer::{
    command::{self, NODE_MOUNT_NAMESPACE, ON_NODE, exec_on_node},
    error::{Error, Result},
    install::{Installation, Restart},
    label::Api,
    node::Node,
    runtime::BIN_DIR,
};

/// Installs the containerd shim wasi-http on a Kubernetes node, and removes it
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copy the programs, add the runtime to containerd's configuration, restart containerd and label the node. Steps that are
    /// already done are skipped
    Install(Target),
    /// Remove the label, wait until no pod uses the shim, restore containerd's configuration, restart containerd and remove the
    /// programs
    Remove {
        #[command(flatten)]
        target: Target,
        /// Time in seconds to wait for the last pod
        #[arg(long, value_name = "SECONDS", default_value_t = 600, env = "INSTALLER_PATIENCE")]
        patience: u64,
    },
    /// Do nothing until SIGTERM. The DaemonSet's pod runs this when the node is ready
    Wait,
    /// Run a command in the node's mount namespace
    #[command(name = ON_NODE, hide = true)]
    OnNode {
        #[arg(long, value_name = "FILE", default_value = NODE_MOUNT_NAMESPACE)]
        mounts: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Args)]
struct Target {
    /// Directory where the node's / is mounted; / if the installer runs on the node itself
    #[arg(long, value_name = "DIR", default_value = "/host", env = "INSTALLER_ROOT")]
    root: PathBuf,
    /// Directory that holds the shim and the host
    #[arg(long, value_name = "DIR", default_value = "/node", env = "INSTALLER_PROGRAMS")]
    programs: PathBuf,
    /// Directory on the node for the shim and the host. If it is not the default, containerd's configuration names the path
    #[arg(long, value_name = "DIR", default_value = BIN_DIR, env = "INSTALLER_BIN_DIR")]
    bin_dir: PathBuf,
    /// Path of containerd's configuration on the node; by default, that of the containerd that runs
    #[arg(long, value_name = "FILE", env = "INSTALLER_CONFIG")]
    config: Option<PathBuf>,
    /// Command that restarts containerd, or `never`; by default, the systemd service that runs this containerd is restarted
    #[arg(long, value_name = "COMMAND", env = "INSTALLER_RESTART")]
    restart: Option<String>,
    /// Name of the node to label; without it, no node is labelled
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,
    /// Address of the API server. The kubelet sets the variable
    #[arg(
        long,
        hide = true,
        value_name = "HOST",
        env = "KUBERNETES_SERVICE_HOST",
        default_value = "kubernetes.default.svc"
    )]
    api_host: String,
    #[arg(long, hide = true, value_name = "PORT", env = "KUBERNETES_SERVICE_PORT", default_value = "443")]
    api_port: String,
}

impl Target {
    fn installation(self) -> Result<Installation> {
        let restart = match self.restart.as_deref() {
            None => Restart::Service,
            Some("never") => Restart::Never,
            Some(command) => Restart::Command(command.split_whitespace().map(str::to_owned).collect()),
        };
        let label = match self.node_name.filter(|name| !name.is_empty()) {
            None => None,
            Some(name) => Some((Api::of_pod(&self.api_host, &self.api_port)?, name)),
        };
        Ok(Installation {
            node: Node::at(self.root),
            programs: self.programs,
            bin_dir: self.bin_dir,
            config: self.config,
            restart,
            run: Box::new(command::run),
            label,
            proc: PathBuf::from("/proc"),
            say,
        })
    }
}

fn say(line: &str) {
    eprintln!("wasi-http-installer: {line}");
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Install(target) => target.installation().and_then(|installation| installation.install()),
        Command::Remove { target, patience } => {
            target.installation().and_then(|installation| installation.remove(Duration::from_secs(patience)))
        }
        Command::Wait => wait(),
        Command::OnNode { mounts, command } => Err(exec_on_node(&mounts, &command)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn wait() -> Result<()> {
    // Process 1 of a container ignores signals without a handler (`pid_namespaces(7)`).
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|source| Error::Command { command: "wait".to_owned(), reason: source.to_string() })?;
    signals.forever().next();
    Ok(())
}
