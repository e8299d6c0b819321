//! The examples, and a host that serves one.

use std::{path::PathBuf, process::Output, sync::Mutex};

use testkit::{
    Host, HostOptions, host,
    paths::{host_program, workspace},
};

/// An example: an entry of `examples/examples.toml`.
#[derive(Debug)]
pub(crate) struct Example {
    pub(crate) name: &'static str,
    /// The folder with its manifest, relative to `examples`.
    pub(crate) directory: &'static str,
    /// The body of the response at `/`.
    pub(crate) greeting: &'static str,
    /// What a response contains if the host denies an outbound request: one of these.
    pub(crate) denied: &'static [&'static str],
    /// The kind that `inspect` tells: a `proxy` of WASI 0.2 has an instance for each request, a `service` of WASI 0.3 serves many
    /// requests with one.
    pub(crate) kind: &'static str,
}

/// The example of this name.
pub(crate) fn example(name: &str) -> &'static Example {
    crate::EXAMPLES.iter().find(|example| example.name == name).unwrap()
}

impl Example {
    /// The manifest.
    pub(crate) fn manifest(&self) -> PathBuf {
        workspace().join("examples").join(self.directory).join("spin.toml")
    }

    /// Starts a host that serves the example.
    pub(crate) async fn start(&self) -> Host {
        self.start_with(|options| options).await
    }

    /// As [`Example::start`], with other options.
    pub(crate) async fn start_with(&self, change: impl FnOnce(HostOptions) -> HostOptions) -> Host {
        // The engines are large: compiling one takes longer than a start may take. Only one host compiles at a time, and later hosts find
        // the code.
        static COMPILING: Mutex<()> = Mutex::new(());
        let options = HostOptions::serving(self.manifest());
        let compiling = options.clone();
        let compiled = tokio::task::spawn_blocking(move || {
            // A test that panicked meanwhile has left no partial file.
            let _guard = COMPILING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            compiling.compile()
        });
        let compiled = compiled.await.unwrap();
        assert!(compiled.status.success(), "{compiled:?}");
        change(options).start().await
    }
}

/// Runs the host's program with these arguments to its end.
pub(crate) fn run<'a>(arguments: impl IntoIterator<Item = &'a std::ffi::OsStr>) -> Output {
    host::command(&host_program()).args(arguments).current_dir(workspace()).output().unwrap()
}
