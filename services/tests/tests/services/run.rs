//! `scripts/run-services`, which serves all systems.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testkit::http::Request;
use testkit::paths;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use super::manifests::manifests;

/// How long the script may take to start all systems, which it compiles.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::test]
async fn the_script_serves_all_systems_and_ends_all() {
    let systems: Vec<_> = manifests()
        .iter()
        .map(|manifest| manifest.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let mut command = Command::new(paths::workspace().join("scripts/run-services"));
    for system in &systems {
        command.env(format!("{}_PORT", system.replace('-', "_").to_uppercase()), "0");
    }
    command.env("CARGO_TARGET_DIR", paths::target()).env("WASI_HTTP_HOST_KEYVALUE_STORE", "default=memory:");
    let mut script = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(script.stdout.take().unwrap()).lines();
    let started = async {
        let mut addresses = Vec::new();
        while addresses.len() < systems.len() {
            let line =
                lines.next_line().await.unwrap().expect("the script prints an address for each system");
            let words: Vec<_> = line.split_whitespace().collect();
            let address: SocketAddr = words[1].strip_prefix("http://").unwrap().parse().unwrap();
            addresses.push((words[0].to_owned(), address));
        }
        addresses
    };
    let addresses = tokio::time::timeout(PATIENCE, started).await.unwrap();
    assert_eq!(addresses.iter().map(|(system, _)| system.clone()).collect::<Vec<_>>(), systems);
    for (_, address) in &addresses {
        assert_eq!(Request::get("/health").to(*address).send().await.is(200).json()["status"], "ok");
    }
    kill(Pid::from_raw(i32::try_from(script.id().unwrap()).unwrap()), Signal::SIGTERM).unwrap();
    tokio::time::timeout(PATIENCE, script.wait()).await.unwrap().unwrap();
    for (system, address) in addresses {
        assert!(tokio::net::TcpStream::connect(address).await.is_err(), "{system} still listens");
    }
}
