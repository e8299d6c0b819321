//! The two things that are done to a node, each in an order that leaves it working wherever it stops.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    change::{self, Change},
    distribution::{self, Distribution, Restart},
    error::{Error, Result},
    label::Api,
    node::Node,
    plan,
    runtime::{BIN_DIR, HOST, SHIM},
    shims,
};

const EXECUTABLE: u32 = 0o755;
const READABLE: u32 = 0o644;
/// For whoever finds the file.
const PENDING: &str =
    "wasi-http-installer changes containerd's configuration here, and has not restarted it since.\n";
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);

/// What restarts containerd, given how its distribution does it.
pub type Restarter = dyn Fn(&Restart) -> Result<()>;

/// A node, and how it is to be treated.
pub struct Installation {
    /// The node's files.
    pub node: Node,
    /// Where the programs come from.
    pub programs: PathBuf,
    /// Where they go, on the node.
    pub bin_dir: PathBuf,
    /// containerd's configuration, where a person names it.
    pub config: Option<PathBuf>,
    /// Restarts containerd, in the way that it is told or in its own.
    pub restart: Box<Restarter>,
    /// The API server and the node's name, where there is a label to set.
    pub label: Option<(Api, String)>,
    /// Where processes are listed.
    pub proc: PathBuf,
    /// What happens is told here, a line each.
    pub say: fn(&str),
}

impl Installation {
    /// Programs, configuration, restart, label.
    ///
    /// # Errors
    /// What a step met; the configuration is then as it was before.
    pub fn install(&self) -> Result<()> {
        // Before anything is written, so that a node we do not understand stays untouched.
        let distribution = self.distribution()?;
        let path = self.bin_dir.join(SHIM);
        let path = (self.bin_dir != Path::new(BIN_DIR)).then(|| path.to_string_lossy().into_owned());
        let changes = plan::install(&self.node, &distribution, path.as_deref())?;
        for program in [HOST, SHIM] {
            self.copy(program)?;
        }
        self.carry_out(&distribution, &changes)?;
        self.label(true)
    }

    /// Label, pods, configuration, restart, programs.
    ///
    /// # Errors
    /// What a step met: [`Error::InUse`] when pods of the runtime are still there after `patience`.
    pub fn remove(&self, patience: Duration) -> Result<()> {
        let distribution = self.distribution()?;
        let changes = plan::remove(&self.node, &distribution)?;
        self.label(false)?;
        let started = Instant::now();
        loop {
            match shims::running(&self.proc) {
                0 => break,
                running if started.elapsed() >= patience => return Err(Error::InUse(running)),
                _ => thread::sleep(BETWEEN_LOOKS),
            }
        }
        self.carry_out(&distribution, &changes)?;
        for program in [SHIM, HOST] {
            let path = self.bin_dir.join(program);
            if self.node.exists(&path) {
                (self.say)(&format!("removes {}", path.display()));
                self.node.remove(&path)?;
            }
        }
        Ok(())
    }

    fn distribution(&self) -> Result<Distribution> {
        let found = distribution::detect(&self.node, self.config.as_deref())?;
        (self.say)(&format!("{} with {}", found.name, found.config.display()));
        Ok(found)
    }

    fn copy(&self, program: &str) -> Result<()> {
        let source = self.programs.join(program);
        let content = fs::read(&source).map_err(Error::file(source))?;
        let path = self.bin_dir.join(program);
        if fs::read(self.node.path(&path)).is_ok_and(|present| present == content) {
            return Ok(());
        }
        (self.say)(&format!("writes {}", path.display()));
        // By renaming: pods go on with the file that they were started from.
        self.node.write(&path, &content, EXECUTABLE)
    }

    fn carry_out(&self, distribution: &Distribution, changes: &[Change]) -> Result<()> {
        let pending = plan::pending(distribution);
        if self.node.exists(&pending) {
            (self.say)("an earlier run ended before containerd was restarted");
        } else if changes.is_empty() {
            (self.say)("the configuration is right: containerd is left alone");
            return Ok(());
        }
        // Before the configuration: one that is right does not tell the next run whether containerd has read it.
        self.node.write(&pending, PENDING.as_bytes(), READABLE)?;
        for change in changes {
            (self.say)(&format!("{} {}", change.verb(), change.path.display()));
        }
        change::make(&self.node, changes)?;
        let Err(error) = self.restart(distribution) else { return self.node.remove(&pending) };
        (self.say)(&format!("{error}: the configuration is put back"));
        if changes.is_empty() {
            // The earlier run made them, and took along what was there before.
            change::make(&self.node, &plan::remove(&self.node, distribution)?)?;
        } else {
            change::undo(&self.node, changes)?;
        }
        self.restart(distribution)?;
        self.node.remove(&pending)?;
        Err(error)
    }

    fn restart(&self, distribution: &Distribution) -> Result<()> {
        (self.restart)(&distribution.restart)
    }

    fn label(&self, ready: bool) -> Result<()> {
        let Some((api, node)) = &self.label else { return Ok(()) };
        (self.say)(&format!("{} node {node}", if ready { "labels" } else { "takes the label off" }));
        api.label(node, ready)
    }
}
