//! `containerd-shim-wasi-http-v1`: runs WASI HTTP components beside ordinary containers, in pods of containerd's.
//!
//! Every container is the node's `runc`'s. For a WebAssembly one, the specification is rewritten before (`wasm`).

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
mod process;
mod reaper;
mod rootfs;
mod runc;
mod serve;
mod service;
mod spec;
mod state;
mod stdio;
mod wasm;

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    process::ExitCode,
};

use flags::Flags;

use error::{Context as _, Error, Result};

const NAME: &str = "containerd-shim-wasi-http-v1";

fn main() -> ExitCode {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Into the answer of `start`, which is what containerd shows.
            eprintln!("{NAME}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[OsString]) -> Result<()> {
    let (first, rest) = args.split_first().unzip();
    match (first.and_then(|first| first.to_str()), rest) {
        (Some(wasm::COMPILE), Some(rest)) => return Err(wasm::compile_confined(rest)),
        (Some(wasm::ARTIFACT_ACTION), Some(rest)) => return answer(wasm::fetch_artifact(rest)),
        _ => {}
    }
    let flags = Flags::parse(args)?;
    if flags.version {
        return write(&format!("{NAME} {}\n", env!("CARGO_PKG_VERSION")));
    }
    if flags.info {
        return info::print();
    }
    match flags.action.as_str() {
        "start" => bootstrap::start(&flags),
        "delete" => cleanup::delete(&flags),
        "" if !flags.socket.is_empty() => serve::serve(&flags),
        _ => Err(Error::InvalidArgument("containerd starts this program: it has no other use".to_owned())),
    }
}

/// Says on standard output what was found, or what was wrong: the shim that asked reads nothing else.
fn answer(found: Result<String>) -> Result<()> {
    match found {
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
