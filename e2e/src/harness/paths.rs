//! Where the things under test lie.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The repository.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where Cargo builds.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |dir| workspace().join(dir))
}

/// The host's program: `WASI_HTTP_HOST_BIN`, or the release build.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn host_program() -> PathBuf {
    built("WASI_HTTP_HOST_BIN", "release/wasi-http-host", "make build")
}

/// The component: `GISTS_WASM`, or the release build.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn component() -> PathBuf {
    built("GISTS_WASM", "wasm32-wasip2/dist/gists.wasm", "make build")
}

/// The manifest to serve: the repository's own, or a copy that names another component.
///
/// # Panics
/// When the manifest cannot be read, or a copy cannot be written.
#[must_use]
#[expect(clippy::panic, reason = "a test that cannot read the manifest cannot go on")]
pub fn manifest() -> PathBuf {
    let own = workspace().join("spin.toml");
    let component = component();
    if component == workspace().join("target/wasm32-wasip2/dist/gists.wasm") {
        return own;
    }
    let text = std::fs::read_to_string(&own).unwrap_or_else(|error| panic!("{}: {error}", own.display()));
    let source = format!("source = \"{}\"", component.display());
    let text = text.replace("source = \"target/wasm32-wasip2/dist/gists.wasm\"", &source);
    // Written once: other tests' hosts read it meanwhile.
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    let write = || {
        let copy = target().join(format!("e2e-{}.toml", std::process::id()));
        std::fs::write(&copy, text).unwrap_or_else(|error| panic!("{}: {error}", copy.display()));
        copy
    };
    COPY.get_or_init(write).clone()
}

fn built(variable: &str, default: &str, command: &str) -> PathBuf {
    let path =
        std::env::var_os(variable).map_or_else(|| target().join(default), |path| workspace().join(path));
    assert!(path.is_file(), "{} is not there; build it with `{command}`, or set {variable}", path.display());
    path
}
