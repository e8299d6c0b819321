//! `containerd-shim-wasi-http-v1`: a containerd shim that runs WASI HTTP components beside ordinary containers.
//!
//! The shim implements containerd's runtime v2 shim protocol. The node's `runc` creates every container. If a container
//! holds a WebAssembly component, the shim first rewrites the container's OCI specification, so that `runc` starts the
//! host with the component (module `wasm`).

mod bootstrap;
mod cgroup;
mod cleanup;
mod console;
mod container;
mod error;
mod events;
mod flags;
mod info;
mod logger;
mod message;
mod node;
mod options;
mod pidfd;
mod process;
mod reaper;
mod rootfs;
mod runc;
mod serve;
mod service;
mod socket;
mod spec;
mod stdio;
mod wasm;

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use error::{Context as _, Error, Result};
use flags::{Flags, PROGRAM};

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // containerd shows the standard error of `start` to its user.
            eprintln!("{PROGRAM}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[OsString]) -> Result<()> {
    let (first, rest) = args.split_first().unzip();
    match (first.and_then(|first| first.to_str()), rest) {
        (Some(wasm::COMPILE), Some(rest)) => return wasm::compile(rest),
        (Some(wasm::COMPILE_SANDBOX), Some(rest)) => wasm::run_sandboxed(rest),
        (Some(wasm::ARTIFACT_ACTION), Some(rest)) => return write_result(wasm::fetch_artifact(rest)),
        (Some(wasm::IMAGE_ACTION), Some(rest)) => return write_result(wasm::read_image(rest)),
        _ => {}
    }
    let flags = Flags::parse(args)?;
    if flags.version {
        return write(&format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION")));
    }
    if flags.info {
        return info::print();
    }
    match flags.action.as_str() {
        "start" => bootstrap::start(&flags),
        "delete" => cleanup::delete(&flags),
        "" if !flags.socket.is_empty() => serve::serve(&flags),
        _ => Err(Error::InvalidArgument(
            "no action and no -socket: this program is a shim, which only containerd starts".to_owned(),
        )),
    }
}

/// Writes the result of a command that asks containerd, or its error, to standard output. The shim that started the command
/// reads only standard output and the exit status.
fn write_result(result: Result<String>) -> Result<()> {
    match result {
        Ok(text) => write(&text),
        Err(error) => {
            write(&error.to_string())?;
            Err(error)
        }
    }
}

fn write(text: &str) -> Result<()> {
    io::stdout().lock().write_all(text.as_bytes()).context(|| "stdout")
}
