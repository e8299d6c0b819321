//! The examples, and the host that serves one.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Mutex,
};

use e2e::harness::{Host, Options, host_program, workspace};

/// An example.
#[derive(Debug)]
pub(crate) struct Example {
    pub(crate) name: &'static str,
    /// Where its manifest lies, from `examples` on.
    dir: &'static str,
    /// What it says of itself at `/`.
    pub(crate) greeting: &'static str,
    /// What it says, one or the other, where the host denies a request.
    pub(crate) denied: &'static [&'static str],
    /// What `inspect` calls it: a `proxy` of WASI 0.2 has an instance a request, a `service` of 0.3 shares one.
    pub(crate) kind: &'static str,
}

pub(crate) const JAVASCRIPT: Example = Example {
    name: "javascript",
    dir: "javascript",
    greeting: "Hello from JavaScript",
    // The Fetch standard keeps the reason from the script.
    denied: &["NetworkError"],
    kind: "proxy",
};
pub(crate) const PYTHON: Example = Example {
    name: "python",
    dir: "python",
    greeting: "Hello from Python",
    denied: &["HttpRequestDenied"],
    kind: "proxy",
};
pub(crate) const PYTHON_P3: Example = Example {
    name: "python-p3",
    dir: "python-p3",
    greeting: "Hello from Python on WASI 0.3",
    denied: &["HttpRequestDenied"],
    kind: "service",
};
pub(crate) const GO: Example = Example {
    name: "go",
    dir: "go",
    greeting: "Hello from Go",
    denied: &["HttpRequestDenied"],
    kind: "proxy",
};
pub(crate) const RUST_WSTD: Example = Example {
    name: "rust-wstd",
    dir: "rust/wstd",
    greeting: "Hello from Rust on wstd",
    // Its client sends the body, which nobody takes, while it waits for the answer: it tells of what it saw first.
    denied: &["HttpRequestDenied", "connection reset"],
    kind: "proxy",
};
pub(crate) const RUST_SPIN_SDK: Example = Example {
    name: "rust-spin-sdk",
    dir: "rust/spin-sdk",
    greeting: "Hello from Rust on spin-sdk",
    denied: &["HttpRequestDenied"],
    kind: "proxy",
};

pub(crate) const ALL: [&Example; 6] = [&JAVASCRIPT, &PYTHON, &PYTHON_P3, &GO, &RUST_WSTD, &RUST_SPIN_SDK];

impl Example {
    /// What is served.
    pub(crate) fn manifest(&self) -> PathBuf {
        workspace().join("examples").join(self.dir).join("spin.toml")
    }

    /// Serves it.
    pub(crate) async fn start(&self) -> Host {
        self.start_with(|options| options).await
    }

    /// Serves it with settings of the test's own.
    pub(crate) async fn start_with(&self, options: impl FnOnce(Options) -> Options) -> Host {
        // Compiling takes longer than a start may. Once: whoever comes second finds the code.
        static COMPILING: Mutex<()> = Mutex::new(());
        let cache = code_cache();
        let manifest = self.manifest();
        let compiled = tokio::task::spawn_blocking(move || {
            // A test that failed meanwhile has left nothing half done.
            let _one = COMPILING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            run(["compile".as_ref(), manifest.as_os_str(), "--cache-dir".as_ref(), cache.as_os_str()])
        });
        let compiled = compiled.await.unwrap();
        assert!(compiled.status.success(), "{compiled:?}");
        let defaults = Options::of(self.manifest()).flag("--cache-dir", &code_cache().to_string_lossy());
        Host::start(options(defaults)).await
    }
}

/// The host's program with these arguments, to its end.
pub(crate) fn run<'a>(arguments: impl IntoIterator<Item = &'a std::ffi::OsStr>) -> Output {
    Command::new(host_program()).args(arguments).current_dir(workspace()).output().unwrap()
}

/// Where compiled code is kept from one run to the next.
pub(crate) fn code_cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples-code")
}
