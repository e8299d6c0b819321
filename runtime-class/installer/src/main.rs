//! The command line of the installer.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Args, Parser, Subcommand};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use wasi_http_installer::{
    command::{MOUNTS_OF_NODE, ON_NODE, become_on_node, restart},
    distribution::Restart,
    error::{Error, Result},
    install::Installation,
    label::Api,
    node::Node,
    runtime::BIN_DIR,
};

/// Puts the containerd shim wasi-http on a node, and takes it off again
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copy the programs, make the runtime known to containerd, label the node; does nothing where all is done
    Install(Target),
    /// Take the label off, wait until no pod uses the shim, and bring back what was there before
    Remove {
        #[command(flatten)]
        target: Target,
        /// Seconds to wait for the last pod
        #[arg(long, value_name = "SECONDS", default_value_t = 600, env = "INSTALLER_PATIENCE")]
        patience: u64,
    },
    /// Do nothing until SIGTERM: what the DaemonSet's pod does once the node is ready
    Wait,
    /// Run a command in the node's mount namespace
    #[command(name = ON_NODE, hide = true)]
    OnNode {
        #[arg(long, value_name = "FILE", default_value = MOUNTS_OF_NODE)]
        mounts: PathBuf,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Args)]
struct Target {
    /// Where the node's / is mounted; / itself when this runs on the node
    #[arg(long, value_name = "DIR", default_value = "/host", env = "INSTALLER_ROOT")]
    root: PathBuf,
    /// Where the programs come from
    #[arg(long, value_name = "DIR", default_value = "/node", env = "INSTALLER_PROGRAMS")]
    programs: PathBuf,
    /// Where they go on the node; containerd is told the path unless it is the default
    #[arg(long, value_name = "DIR", default_value = BIN_DIR, env = "INSTALLER_BIN_DIR")]
    bin_dir: PathBuf,
    /// containerd's configuration on the node, where it is no usual one
    #[arg(long, value_name = "FILE", env = "INSTALLER_CONFIG")]
    config: Option<PathBuf>,
    /// The command that restarts containerd, or `never`; by default what the distribution uses
    #[arg(long, value_name = "COMMAND", env = "INSTALLER_RESTART")]
    restart: Option<String>,
    /// The node to label; none when it is not said
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,
    /// The API server's address, which the kubelet sets
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
        let node = Node::at(self.root);
        let (on, own) = (node.clone(), self.restart);
        let restart = move |usual: &Restart| {
            let restart_by = match own.as_deref() {
                Some("never") => {
                    say("containerd is not restarted: that is left to you");
                    return Ok(());
                }
                Some(command) => &Restart::Command(command.split_whitespace().map(str::to_owned).collect()),
                None => usual,
            };
            say("restarts containerd");
            restart(&on, restart_by)
        };
        let label = match self.node_name.filter(|name| !name.is_empty()) {
            None => None,
            Some(name) => Some((Api::of_pod(&self.api_host, &self.api_port)?, name)),
        };
        Ok(Installation {
            node,
            programs: self.programs,
            bin_dir: self.bin_dir,
            config: self.config,
            restart: Box::new(restart),
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
        Command::OnNode { mounts, command } => Err(become_on_node(&mounts, &command)),
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
    // As the first process of its container it would otherwise ignore both.
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|source| Error::Command { command: "wait".to_owned(), reason: source.to_string() })?;
    signals.forever().next();
    Ok(())
}
