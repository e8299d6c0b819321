//! The real component in the real host against a fake GitHub. A test that cannot go on panics and shows the host's log.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use testkit::{Host, HostOptions, Samples, paths};
use tokio::sync::OnceCell;

use crate::fake::FakeGitHub;

/// The time limit that tests of the API assert: an answer or an end that takes longer is wrong.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The component that the repository's manifest names, relative to the repository.
const COMPONENT: &str = "target/wasm32-wasip2/dist/gists.wasm";

/// How the host uses instances. The whole suite runs with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instances {
    /// A new instance for each request: nothing can hide in an instance's memory.
    Fresh,
    /// The host's defaults: an instance lives long and serves many requests at once.
    Reused,
}

/// A host that serves the component, and the fake GitHub that the component asks.
pub struct Service {
    /// The running host. Dropped before the fake.
    pub host: Host,
    /// The fake GitHub.
    pub github: FakeGitHub,
}

impl Service {
    /// Starts both with the manifest's settings.
    pub async fn start(instances: Instances) -> Self {
        Self::with(instances, |options| options).await
    }

    /// Starts both with other options.
    pub async fn with(instances: Instances, change: impl FnOnce(HostOptions) -> HostOptions) -> Self {
        Self::of(fake().await, instances, change).await
    }

    /// Starts a host that asks `github`, with other options.
    pub async fn of(
        github: FakeGitHub,
        instances: Instances,
        change: impl FnOnce(HostOptions) -> HostOptions,
    ) -> Self {
        let defaults = options(instances).await.setting("github_api_url", &github.url());
        let host = change(defaults).start().await;
        Self { host, github }
    }

    /// The component's own metrics.
    pub async fn component_metrics(&self) -> Samples {
        Samples::parse(self.host.get("/metrics").await.text())
    }
}

/// Options of a host that serves the repository's manifest.
pub async fn options(instances: Instances) -> HostOptions {
    serving(manifest(), instances).await
}

/// Options of a host that serves a system of `services/`. `make services` builds the components.
pub async fn system(name: &str, instances: Instances) -> HostOptions {
    let manifest = paths::workspace().join("services").join(name).join("spin.toml");
    assert!(manifest.is_file(), "{} does not exist", manifest.display());
    serving(manifest, instances).await
}

/// Options of a host that serves a manifest or a component. The first call of a process compiles the components into the shared code
/// cache, so that no host that is measured or limited has to.
pub async fn serving(app: PathBuf, instances: Instances) -> HostOptions {
    static COMPILED: Mutex<BTreeMap<PathBuf, Arc<OnceCell<()>>>> = Mutex::new(BTreeMap::new());
    let options = HostOptions::serving(app.clone());
    let compile = async {
        let output = options.compile();
        assert!(output.status.success(), "{}: {}", app.display(), String::from_utf8_lossy(&output.stderr));
    };
    let compiled =
        COMPILED.lock().unwrap_or_else(PoisonError::into_inner).entry(app.clone()).or_default().clone();
    compiled.get_or_init(|| compile).await;
    match instances {
        Instances::Fresh => options.flag("--instance-max-requests", "1"),
        Instances::Reused => options,
    }
}

/// A fake GitHub on a free port.
pub async fn fake() -> FakeGitHub {
    FakeGitHub::start().await.expect("loopback has a free port")
}

/// The component: `GISTS_WASM`, or the build for release. Panics if there is none.
#[must_use]
pub fn component() -> PathBuf {
    paths::built("GISTS_WASM", "wasm32-wasip2/dist/gists.wasm", "make build")
}

/// The manifest to serve: the repository's own, or a copy that names the component of another path.
#[must_use]
pub fn manifest() -> PathBuf {
    let own = paths::workspace().join("spin.toml");
    let component = component();
    if component == paths::workspace().join(COMPONENT) {
        return own;
    }
    // The copy is written once: hosts of other tests read it meanwhile.
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    let write = || {
        let text = std::fs::read_to_string(&own).expect("the repository has a manifest");
        let source = format!("source = \"{}\"", component.display());
        let copy = paths::scratch(&format!("manifest-{}", std::process::id())).join("spin.toml");
        let text = text.replace(&format!("source = \"{COMPONENT}\""), &source);
        std::fs::write(&copy, text).expect("the target directory is writable");
        copy
    };
    COPY.get_or_init(write).clone()
}
