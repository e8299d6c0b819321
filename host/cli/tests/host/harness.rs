//! The program that cargo built for these tests, and what serves as an application.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::mpsc,
};

use testkit::{DEADLINE, Host, HostOptions, host};

const PROGRAM: &str = env!("CARGO_BIN_EXE_wasi-http-host");

/// Options of a host that serves a manifest or a component.
pub(crate) fn serving(app: &Path) -> HostOptions {
    HostOptions::serving(app).program(PROGRAM)
}

/// Starts a host that serves a guest, with these flags, and waits until the host is ready.
pub(crate) async fn start_guest(name: &str, flags: &[&str]) -> Host {
    start_app(&testkit::paths::guest(name), flags, &[]).await
}

/// Starts a host that serves a manifest or a component, with these flags and environment variables, and waits until the host is ready.
pub(crate) async fn start_app(app: &Path, flags: &[&str], environment: &[(&str, &str)]) -> Host {
    serving(app).flags(flags).envs(environment).start().await
}

/// The program, in an environment of its own.
pub(crate) fn command() -> Command {
    host::command(Path::new(PROGRAM))
}

/// Runs the program with these arguments to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    run_in(args, &[])
}

/// As [`run`], with environment variables.
pub(crate) fn run_in(args: &[&str], environment: &[(&str, &str)]) -> Output {
    command().args(args).envs(environment.iter().copied()).output().expect("the program starts")
}

/// Runs `serve` with these arguments, which must fail with this exit code, and returns its message.
pub(crate) fn serve_fails(code: i32, args: &[&str], environment: &[(&str, &str)]) -> String {
    let listeners = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--no-cache"];
    let output = run_in(&[&["serve"][..], args, &listeners].concat(), environment);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {message}");
    message
}

/// A pipe in the place of a file: a reader waits for the writer.
pub(crate) struct Fifo(PathBuf);

impl Fifo {
    pub(crate) fn new(path: &Path) -> Self {
        let made = Command::new("mkfifo").arg(path).status().expect("mkfifo starts");
        assert!(made.success());
        Self(path.to_owned())
    }

    /// Waits until a process opens the pipe to read. The reader then waits for what is written to the result.
    pub(crate) fn wait_for_reader(&self) -> File {
        let path = self.0.clone();
        let (sender, opened) = mpsc::channel();
        std::thread::spawn(move || sender.send(File::options().write(true).open(path)));
        opened.recv_timeout(DEADLINE).expect("a process opens the pipe").expect("the pipe can be written")
    }
}
