//! Where programs, guests and scratch files are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The repository's root.
#[must_use]
pub fn workspace() -> PathBuf {
    let crate_directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_directory.parent().unwrap_or(crate_directory).to_owned()
}

/// Cargo's target directory: `CARGO_TARGET_DIR`, or `target`.
#[must_use]
pub fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace().join("target"), |directory| workspace().join(directory))
}

/// The host's program: `WASI_HTTP_HOST_BIN`, or the release build. Panics if there is none.
#[must_use]
pub fn host_program() -> PathBuf {
    built("WASI_HTTP_HOST_BIN", "release/wasi-http-host", "make build")
}

/// A file that another command builds: the path in the environment variable, or `default` in the target directory. Panics if there is
/// none, and names the command that builds it.
#[must_use]
pub fn built(variable: &str, default: &str, command: &str) -> PathBuf {
    let path =
        std::env::var_os(variable).map_or_else(|| target().join(default), |path| workspace().join(path));
    assert!(
        path.is_file(),
        "{} does not exist; build it with `{command}`, or set {variable}",
        path.display()
    );
    path
}

/// A guest of `host/guests`: `service` (WASI 0.3), `proxy` (WASI 0.2) or `forwarder` (WASI 0.3). The first call of a process builds them with a nested cargo,
/// into the same target directory.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let target = target();
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let built = Command::new(cargo)
            .args(["build", "--release", "--locked", "--quiet", "--target", "wasm32-wasip2"])
            .args([
                "--package",
                "guest-service",
                "--package",
                "guest-proxy",
                "--package",
                "guest-forwarder",
                "--target-dir",
            ])
            .arg(&target)
            .current_dir(workspace())
            .status()
            .expect("cargo starts");
        assert!(built.success(), "the guests do not build; rustup target add wasm32-wasip2");
        target.join("wasm32-wasip2/release")
    });
    directory.join(format!("guest_{name}.wasm"))
}

/// Where hosts of tests keep compiled code from one run to the next, so that each component is compiled once.
#[must_use]
pub fn code_cache() -> PathBuf {
    target().join("tmp/code")
}

/// An empty directory with this name, which no other test may use. The directory stays after the test for inspection.
#[must_use]
pub fn scratch(name: &str) -> PathBuf {
    let directory = target().join("tmp/scratch").join(name);
    // Most often, there is nothing to remove.
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).expect("the target directory is writable");
    directory
}
