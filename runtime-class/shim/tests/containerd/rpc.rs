//! Calls the shim's task service directly, for calls that `ctr` has no command for.

use std::fs;

use containerd_shim_protos::{TaskClient, shim_sync::Client};

use crate::daemon::Daemon;

/// A client of the shim that serves container `id`.
pub(crate) fn client(daemon: &Daemon, id: &str) -> TaskClient {
    let command = fs::read(format!("/proc/{}/cmdline", daemon.shim(id))).unwrap();
    let mut words = command.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    words.find(|word| word == "-socket").unwrap();
    TaskClient::new(Client::connect(&format!("unix://{}", words.next().unwrap())).unwrap())
}
