//! Starts the real host with the real component against a fake GitHub, and talks to it byte by byte.
//!
//! It serves tests alone, so it fails by panicking, with the host's log.

mod connection;
mod files;
mod host;
mod log;
mod paths;
mod prometheus;
mod redis;

use std::time::Duration;

pub use connection::{Ask, Connection, Reply};
pub use files::raise_open_files;
pub use host::{Host, Options, Reading};
pub use log::{Line, Log};
pub use paths::{component, host_program, manifest, target, workspace};
pub use prometheus::{Sample, Samples};
pub use redis::Redis;

use crate::fake::FakeGitHub;

/// How long anything may take before a test calls it a hang.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How the host uses instances; the whole suite runs with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// A new one for every request: nothing can hide in an instance's memory.
    Fresh,
    /// The host's own defaults: long-lived, many requests at once.
    Reused,
}

/// A host that serves the component, and the GitHub below it.
pub struct Service {
    /// What the component takes for GitHub. Dropped after the host.
    pub host: Host,
    /// The running host.
    pub github: FakeGitHub,
}

impl Service {
    /// Starts both with the manifest's settings.
    pub async fn start(instances: Instances) -> Self {
        Self::with(instances, |options| options).await
    }

    /// Starts both with settings of the test's own.
    pub async fn with(instances: Instances, options: impl FnOnce(Options) -> Options) -> Self {
        let github = fake().await;
        let defaults = Options::new(instances).setting("github_api_url", &github.url());
        let host = Host::start(options(defaults)).await;
        Self { host, github }
    }
}

/// A fake GitHub on a free port.
pub async fn fake() -> FakeGitHub {
    #[expect(clippy::panic, reason = "a test that cannot bind loopback cannot go on")]
    FakeGitHub::start().await.unwrap_or_else(|error| panic!("no fake GitHub: {error}"))
}

/// Asks again and again until there is an answer; a test waits for what it wants to see, never for a time.
///
/// # Panics
/// When there is none within [`PATIENCE`].
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(15)).await;
        }
    };
    #[expect(clippy::panic, reason = "how a test reports a hang")]
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("not within {PATIENCE:?}: {what}"))
}
