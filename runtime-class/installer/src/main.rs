//! The command line of the installer.

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    process::{self, ExitCode},
    sync::Arc,
    thread,
    time::Duration,
};

use clap::{Args, Parser, Subcommand};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};
use wasi_http_installer::{
    api::Api,
    cluster::Cluster,
    command::{self, NODE_MOUNT_NAMESPACE, ON_NODE, exec_on_node},
    error::{Error, Result},
    exporter::{self, Figures},
    install::{Installation, Restart},
    node::Node,
    runtime::BIN_DIR,
    watch,
};

/// Pause before the API server is asked for the same object again.
const POLL_INTERVAL: Duration = Duration::from_secs(3);

/// Installs the containerd shim wasi-http on a Kubernetes node, and removes it
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Copy the programs, add the runtime to containerd's configuration, restart containerd, prove the node and label it. Steps that
    /// are already done are skipped
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
    /// Take the label off nodes that have lost the runtime, and export series for Prometheus. The watcher's Deployment runs this
    Watch {
        #[command(flatten)]
        server: ServerFlags,
        /// Address of /metrics and /live
        #[arg(long, value_name = "ADDRESS", default_value = "[::]:9100", env = "INSTALLER_LISTEN")]
        listen: SocketAddr,
        /// Time in seconds between two looks at all nodes
        #[arg(long, value_name = "SECONDS", default_value_t = 15, env = "INSTALLER_WATCH_PAUSE")]
        pause: u64,
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
    /// Directory with an image policy, policy.toml and the files it names: containerd then pulls only what the policy allows. Without it,
    /// a policy that the node has stays
    #[arg(long, value_name = "DIR", env = "INSTALLER_IMAGE_POLICY")]
    image_policy: Option<PathBuf>,
    /// Name of the node to prove and to label; without it, the cluster is not asked
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node_name: Option<String>,
    /// Name of the installer's pod, whose image the probe pod runs; without it, the kubelet's list of runtime handlers is the proof
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pod_name: Option<String>,
    /// Time in seconds until the node has to be proved
    #[arg(long, value_name = "SECONDS", default_value_t = 180, env = "INSTALLER_PROOF_PATIENCE")]
    proof_patience: u64,
    #[command(flatten)]
    server: ServerFlags,
}

/// How the API server is reached.
#[derive(Args)]
struct ServerFlags {
    /// Namespace of the lease and of the installer's pods
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE", default_value = "wasi-http")]
    namespace: String,
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

impl ServerFlags {
    fn cluster(self, node: String, pod: Option<String>, patience: Duration) -> Result<Cluster> {
        let api = Api::of_pod(&self.api_host, &self.api_port)?;
        Ok(Cluster { api, node, namespace: self.namespace, pod, poll: POLL_INTERVAL, patience })
    }
}

impl Target {
    fn installation(self) -> Result<Installation> {
        let restart = match self.restart.as_deref() {
            None => Restart::Service,
            Some("never") => Restart::Never,
            Some(command) => Restart::Command(command.split_whitespace().map(str::to_owned).collect()),
        };
        let (pod, patience) = (self.pod_name, Duration::from_secs(self.proof_patience));
        let pod = pod.filter(|name| !name.is_empty());
        let node = self.node_name.filter(|name| !name.is_empty());
        let cluster = node.map(|node| self.server.cluster(node, pod, patience)).transpose()?;
        Ok(Installation {
            node: Node::at(self.root),
            programs: self.programs,
            bin_dir: self.bin_dir,
            config: self.config,
            restart,
            run: Box::new(command::run),
            image_policy: self.image_policy.filter(|path| !path.as_os_str().is_empty()),
            cluster,
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
        Command::Watch { server, listen, pause } => watch_nodes(server, listen, Duration::from_secs(pause)),
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

fn watch_nodes(server: ServerFlags, listen: SocketAddr, pause: Duration) -> Result<()> {
    let failed = |error: io::Error| Error::Listen { address: listen, source: error };
    let cluster = server.cluster(String::new(), None, Duration::ZERO)?;
    let figures = Arc::new(Figures::default());
    let listener = exporter::listen(listen).map_err(failed)?;
    let watched = Arc::clone(&figures);
    thread::spawn(move || watch::watch(&cluster, &watched, pause, say));
    // Process 1 of a container ignores signals without a handler: the server must not hold up the pod's end.
    thread::spawn(|| wait().map(|()| process::exit(0)));
    exporter::serve(&listener, &figures).map_err(failed)
}

fn wait() -> Result<()> {
    // Process 1 of a container ignores signals without a handler (`pid_namespaces(7)`).
    let mut signals = Signals::new([SIGTERM, SIGINT])
        .map_err(|source| Error::Command { command: "wait".to_owned(), reason: source.to_string() })?;
    signals.forever().next();
    Ok(())
}
