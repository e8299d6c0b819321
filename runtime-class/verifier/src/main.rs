//! The program that containerd runs before each pull.

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use wasi_http_image_verifier::{
    error::Result,
    policy::{DIRECTORY, Policy},
    request::Request,
    verdict,
};

/// Another directory of the policy, in containerd's environment.
const POLICY: &str = "WASI_HTTP_IMAGE_POLICY";

fn run() -> Result<String> {
    let request = Request::parse(env::args().skip(1))?;
    let directory = env::var_os(POLICY).map_or_else(|| PathBuf::from(DIRECTORY), PathBuf::from);
    verdict::decide(&Policy::read(&directory)?, &request)
}

fn main() -> ExitCode {
    let (code, reason) = match run() {
        Ok(reason) => (ExitCode::SUCCESS, reason),
        Err(error) => (ExitCode::FAILURE, error.to_string()),
    };
    // containerd shows what is on standard output, and nothing of standard error. It decides by the exit code.
    let _reader_has_gone = writeln!(io::stdout(), "{reason}");
    code
}
