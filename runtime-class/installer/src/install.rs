//! Installation and removal. The order of the steps leaves the node working, wherever a run stops.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    change::{self, Change},
    cluster::Cluster,
    command::{self, Runner},
    containerd,
    distribution::{self, Distribution},
    error::{Error, Result},
    label::{self, NodeObject},
    lease,
    node::Node,
    os, plan, proof,
    runtime::{BIN_DIR, HOST, SHIM, STATE, VERIFIER},
    selinux, shims,
    verification::{self, Verification},
};

/// Mode of the programs.
const EXECUTABLE: u32 = 0o755;
/// Mode of the pending marker.
const READABLE: u32 = 0o644;
/// First line of the pending marker, for people who find the file. The second line names the service that runs containerd.
const PENDING: &str =
    "wasi-http-installer has changed containerd's configuration and has not restarted containerd since.";
/// Time between two counts of the running shims.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How containerd is restarted. A restart returns when containerd is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restart {
    /// The systemd service that runs containerd is restarted. It must be active.
    Service,
    /// A command: the program and its arguments.
    Command(Vec<String>),
    /// Somebody else restarts it.
    Never,
}

/// A node, and the settings of the installation or the removal.
pub struct Installation {
    /// The files of the node that is changed.
    pub node: Node,
    /// Directory that holds the programs, in the installer's container.
    pub programs: PathBuf,
    /// Directory on the node for the programs.
    pub bin_dir: PathBuf,
    /// Path of containerd's configuration on the node; `None` to detect it.
    pub config: Option<PathBuf>,
    /// How containerd is restarted after a change of its configuration.
    pub restart: Restart,
    /// Runs commands on the node.
    pub run: Box<Runner>,
    /// Directory with the policy of images (`wasi_http_image_verifier::policy`); `None` to leave the verification of images as it is.
    pub image_policy: Option<PathBuf>,
    /// The cluster; `None` to change the node alone, without a lease, a proof and a label.
    pub cluster: Option<Cluster>,
    /// The directory `/proc`.
    pub proc: PathBuf,
    /// Reports progress. Called with one line for each step.
    pub say: fn(&str),
}

impl Installation {
    /// Takes the lease if there is something to change, takes the label off, copies the programs with their SELinux labels, adds the runtime to containerd's
    /// configuration, restarts containerd if the configuration changed, lets containerd verify images if there is a policy, proves the node,
    /// labels it, and releases the lease.
    ///
    /// # Errors
    /// The error of the step that failed. If containerd does not restart, its configuration is restored first. The lease is kept.
    pub fn install(&self) -> Result<()> {
        // Planned before anything is written, so that a node with an unknown configuration stays unchanged.
        let distribution = self.distribution()?;
        let path = self.bin_dir.join(SHIM);
        let path = (self.bin_dir != Path::new(BIN_DIR)).then(|| path.to_string_lossy().into_owned());
        let changes = plan::install(&self.node, &distribution, path.as_deref())?;
        let verification = self.verification(&distribution)?;
        self.node.check_writable(&self.bin_dir, "pass a directory that can be written to by --bin-dir")?;
        let programs = self.outdated_programs()?;
        if !changes.is_empty()
            || !programs.is_empty()
            || self.node.exists(&plan::pending_marker(&distribution))
        {
            self.begin()?;
        }
        for program in programs {
            let path = self.bin_dir.join(program);
            (self.say)(&format!("writes {}", path.display()));
            // `write` renames, so that running pods keep the file that they were started from.
            self.node.write(&path, &self.program(program)?, EXECUTABLE)?;
        }
        selinux::label(&self.node, &self.bin_dir, self.say)?;
        self.apply_and_restart(&distribution, &changes)?;
        let verifier = self.bin_dir.join(VERIFIER);
        if let Some(verification) = verification.filter(|one| one.is_outdated(&self.node, &verifier)) {
            (self.say)("writes the image policy: from now on, containerd pulls what it allows");
            verification.apply(&self.node, &verifier)?;
        }
        let Some(cluster) = &self.cluster else { return Ok(()) };
        if let Err(error) = proof::prove(cluster, self.say) {
            self.withdraw(cluster)?;
            return Err(error);
        }
        (self.say)(&format!("labels node {}", cluster.node));
        label::announce(cluster)?;
        lease::release(cluster)
    }

    /// Removes the label, waits until no pod uses the shim, takes the lease if there is something to restore, restores containerd's
    /// configuration, restarts containerd if the configuration changed, removes the programs and the compiled code, and releases
    /// the lease when the node is ready.
    ///
    /// # Errors
    /// [`Error::InUse`] when pods still use the shim after `patience`; else the error of the step that failed.
    pub fn remove(&self, patience: Duration) -> Result<()> {
        let distribution = self.distribution()?;
        let changes = plan::remove(&self.node, &distribution)?;
        if let Some(cluster) = &self.cluster {
            (self.say)(&format!("removes the label of node {}", cluster.node));
            label::withdraw(cluster, &cluster.node_path())?;
        }
        self.wait_for_pods(patience)?;
        let restarts = !changes.is_empty() || self.node.exists(&plan::pending_marker(&distribution));
        if let (Some(cluster), true) = (&self.cluster, restarts) {
            lease::acquire(cluster, self.say)?;
        }
        self.apply_and_restart(&distribution, &changes)?;
        verification::remove(&self.node, &distribution)?;
        for program in [SHIM, HOST, VERIFIER] {
            let path = self.bin_dir.join(program);
            if self.node.exists(&path) {
                (self.say)(&format!("removes {}", path.display()));
                self.node.remove(&path)?;
            }
        }
        self.node.remove_tree(Path::new(STATE))?;
        let Some(cluster) = &self.cluster else { return Ok(()) };
        if restarts && self.restart != Restart::Never {
            proof::prove_removal(cluster)?;
        }
        lease::release(cluster)
    }

    /// Takes the lease, and then the label off. Only a node that has lost the runtime loses the label at once: the others run pods
    /// while they wait for the lease.
    fn begin(&self) -> Result<()> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        if NodeObject::of(cluster)?.has_handler() == Some(false) {
            self.withdraw(cluster)?;
        }
        lease::acquire(cluster, self.say)?;
        self.withdraw(cluster)
    }

    /// Takes the label off. On an autoscaled node, the startup taint keeps pods away, and the label stays: the autoscaler expects it.
    fn withdraw(&self, cluster: &Cluster) -> Result<()> {
        let node = NodeObject::of(cluster)?;
        if node.is_labelled() && !node.has_startup_taint() {
            (self.say)(&format!("removes the label of node {}", cluster.node));
            label::withdraw(cluster, &cluster.node_path())?;
        }
        Ok(())
    }

    fn wait_for_pods(&self, patience: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            match shims::running(&self.proc) {
                0 => return Ok(()),
                running if started.elapsed() >= patience => return Err(Error::InUse(running)),
                _ => thread::sleep(POLL_INTERVAL),
            }
        }
    }

    fn distribution(&self) -> Result<Distribution> {
        os::check(&self.node)?;
        let running = containerd::running(&self.proc);
        let mut found = distribution::detect(&self.node, &running, self.config.as_deref())?;
        (self.say)(&format!("found {} with the configuration {}", found.name, found.config.display()));
        if self.restart != Restart::Service {
            return Ok(found);
        }
        let marker = self.node.read(&plan::pending_marker(&found))?;
        if let Some(service) =
            marker.as_deref().and_then(|marker| marker.lines().nth(1)).filter(|name| !name.is_empty())
        {
            // An earlier run was interrupted, and may have left this containerd stopped.
            found.service.get_or_insert_with(|| service.to_owned());
            return Ok(found);
        }
        // Before anything is changed: containerd could not read the change, or the wrong service would be restarted.
        let service = found.service.as_deref().ok_or_else(|| Error::NotRunning(found.config.clone()))?;
        let state = command::state(&self.run, &self.node, service)?;
        if state != "active" {
            return Err(Error::NotActive { service: service.to_owned(), state });
        }
        Ok(found)
    }

    /// What lets containerd verify images; `None` without a policy. A node that verifies already goes on: a policy that is no longer passed
    /// by mistake must not open the node.
    fn verification(&self, distribution: &Distribution) -> Result<Option<Verification>> {
        let Some(source) = &self.image_policy else {
            if verification::is_on(&self.node, distribution)? {
                (self.say)(
                    "no image policy was passed: the node goes on with the one it has, which `remove` removes",
                );
            }
            return Ok(None);
        };
        Verification::plan(&self.node, distribution, source, self.cluster.as_ref()).map(Some)
    }

    /// The programs that the node lacks, or has in another version.
    fn outdated_programs(&self) -> Result<Vec<&'static str>> {
        let mut outdated = Vec::new();
        // The host first: the shim needs it.
        let verifier = self.image_policy.as_ref().map(|_| VERIFIER);
        for program in [HOST, SHIM].into_iter().chain(verifier) {
            let present = fs::read(self.node.path(&self.bin_dir.join(program))).ok();
            if present != Some(self.program(program)?) {
                outdated.push(program);
            }
        }
        Ok(outdated)
    }

    fn program(&self, name: &str) -> Result<Vec<u8>> {
        let source = self.programs.join(name);
        fs::read(&source).map_err(Error::file(source))
    }

    fn apply_and_restart(&self, distribution: &Distribution, changes: &[Change]) -> Result<()> {
        let pending = plan::pending_marker(distribution);
        if self.node.exists(&pending) {
            (self.say)("an earlier run was killed before it restarted containerd: restarting it now");
        } else if changes.is_empty() {
            (self.say)("the configuration needs no change: not restarting containerd");
            return Ok(());
        }
        // Written before the configuration. If this run is killed, the next one finds a right configuration, and only the
        // marker shows that containerd has not read it yet.
        let service = distribution.service.as_deref().unwrap_or_default();
        self.node.write(&pending, format!("{PENDING}\n{service}\n").as_bytes(), READABLE)?;
        for change in changes {
            (self.say)(&format!("{} {}", change.verb(), change.path.display()));
        }
        change::apply(&self.node, changes)?;
        let Err(error) = self.restart(distribution) else { return self.node.remove(&pending) };
        (self.say)(&format!("{error}: restoring the configuration"));
        if changes.is_empty() {
            // The killed run made the changes, and the content before them is not known any more: remove the runtime.
            change::apply(&self.node, &plan::remove(&self.node, distribution)?)?;
        } else {
            change::undo(&self.node, changes)?;
        }
        self.restart(distribution)?;
        self.node.remove(&pending)?;
        Err(error)
    }

    fn restart(&self, distribution: &Distribution) -> Result<()> {
        let command: Vec<&str> = match (&self.restart, &distribution.service) {
            (Restart::Service, Some(service)) => vec!["systemctl", "restart", service],
            (Restart::Command(command), _) => command.iter().map(String::as_str).collect(),
            (Restart::Service | Restart::Never, _) => {
                (self.say)("not restarting containerd (--restart=never): restart it yourself");
                return Ok(());
            }
        };
        (self.say)(&format!("restarts containerd: {}", command.join(" ")));
        command::must(&self.run, &self.node, &command)
    }
}
