//! Calls the shim's task service directly, for calls that `ctr` has no command for.

use std::{fs, path::PathBuf};

use containerd_shim_protos::{TaskClient, shim_sync::Client};

use crate::daemon::Daemon;

/// The socket of the shim that serves container `id`.
pub(crate) fn socket(daemon: &Daemon, id: &str) -> PathBuf {
    let command = fs::read(format!("/proc/{}/cmdline", daemon.shim(id))).unwrap();
    let mut words = command.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.find(|word| word == "-socket").unwrap();
    PathBuf::from(words.next().unwrap())
}

/// A client of the shim that serves container `id`.
pub(crate) fn client(daemon: &Daemon, id: &str) -> TaskClient {
    TaskClient::new(Client::connect(&format!("unix://{}", socket(daemon, id).display())).unwrap())
}
