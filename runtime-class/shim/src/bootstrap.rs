//! The `start` action: containerd asks for the address of a container's shim. One shim process serves a whole pod.
//!
//! Protocol: containerd's `core/runtime/v2/README.md`, "Start". containerd 2.3 and later send `BootstrapParams` and read
//! `BootstrapResult`; earlier versions read a bare address.

use std::{
    env,
    io::{self, Read as _, Write as _},
    os::unix::{
        net::UnixListener,
        process::{CommandExt as _, parent_id},
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use containerd_shim_protos::{
    bootstrap_api::{BootstrapParams, BootstrapResult},
    protobuf::Message as _,
};
use sha2::{Digest as _, Sha256};

use crate::{
    error::{Context as _, Error, Result},
    flags::{Flags, PROGRAM},
    node::{Cache, VARIABLES},
    socket,
    spec::Spec,
};

/// Annotations that name a container's pod. Clients such as nerdctl set the first, CRI sets the second.
const GROUP_ANNOTATIONS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];
/// Environment variable with the address of containerd's ttrpc socket, which takes events.
pub(crate) const TTRPC_ADDRESS: &str = "TTRPC_ADDRESS";
/// Bytes that are read from standard input.
const INPUT_MAX: u64 = 10 << 20;
/// Directory of the shims' sockets if containerd names none.
const SOCKET_DIRECTORY: &str = "/run/containerd/s";
const ADDRESS_FILE: &str = "address";
const PROTOCOL: &str = "ttrpc";
/// Newest version of the task service that the shim serves (`containerd.task.v3`).
const TASK_SERVICE_VERSION: i32 = 3;
/// Largest `oom_score_adj` that the kernel takes.
const OOM_SCORE_MAX: i64 = 1000;

/// Starts the pod's shim if none runs, and prints the shim's address to standard output.
///
/// # Errors
/// When the bundle's `config.json` cannot be read, the socket cannot be created, or the shim cannot be started.
pub(crate) fn start(flags: &Flags) -> Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().take(INPUT_MAX).read_to_end(&mut input).context(|| "stdin")?;
    let params = params(&input, flags);
    let ttrpc = match &params {
        Some(params) => params.containerd_ttrpc_address.clone(),
        None => env::var(TTRPC_ADDRESS).unwrap_or_default(),
    };
    let bundle = env::current_dir().context(|| "working directory")?;
    let spec = Spec::read(&bundle)?;
    let group = GROUP_ANNOTATIONS.iter().find_map(|key| spec.annotation(key)).unwrap_or(&flags.id);
    let directory =
        params.as_ref().and_then(|params| params.socket_dir.clone()).filter(|dir| !dir.is_empty());
    let address = address(directory.as_deref().unwrap_or(SOCKET_DIRECTORY), flags, group);
    let path = PathBuf::from(address.strip_prefix("unix://").unwrap_or(&address));
    // Checked here, because containerd shows the errors of this process to its user.
    Cache::from_environment()?;
    if let Some(listener) = socket::listen(&path)? {
        spawn(flags, &ttrpc, &path, listener)?;
    }
    // After a restart, containerd 1.6 finds its shims by this file. Later versions store the address themselves.
    std::fs::write(bundle.join(ADDRESS_FILE), &address).context(|| ADDRESS_FILE)?;
    let mut reply = io::stdout().lock();
    reply.write_all(&encode(&address, params.is_some())?).and_then(|()| reply.flush()).context(|| "stdout")
}

/// Address of the shim of `group`. The file name is a hash, because a socket's path has at most 107 bytes.
fn address(directory: &str, flags: &Flags, group: &str) -> String {
    let hash = Sha256::digest([flags.address.as_str(), &flags.namespace, group].join("/"));
    let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("unix://{}/{name}", directory.trim_end_matches('/'))
}

/// Reads the `BootstrapParams` that containerd 2.3 and later send. Earlier versions send nothing or runtime options:
/// `None`. Runtime options can also be decoded as `BootstrapParams`, so the container's id and namespace must match.
fn params(input: &[u8], flags: &Flags) -> Option<BootstrapParams> {
    let params = BootstrapParams::parse_from_bytes(input).ok()?;
    (params.instance_id == flags.id && params.namespace == flags.namespace).then_some(params)
}

/// Encodes the reply. containerd 1.6 to 2.2 take a bare address to mean version 2 of the task service, which the shim
/// serves too.
fn encode(address: &str, bootstrap: bool) -> Result<Vec<u8>> {
    if !bootstrap {
        return Ok(address.as_bytes().to_vec());
    }
    let result = BootstrapResult {
        version: TASK_SERVICE_VERSION,
        address: address.to_owned(),
        protocol: PROTOCOL.to_owned(),
        ..BootstrapResult::default()
    };
    result.write_to_bytes().map_err(|error| Error::Other(error.to_string()))
}

/// Starts the serving shim process. Its standard input is the listening socket, so that containerd can connect at once.
/// Its environment holds only the variables that it needs.
fn spawn(flags: &Flags, ttrpc: &str, socket: &Path, listener: UnixListener) -> Result<()> {
    let program = env::current_exe().context(|| "own path")?;
    let mut command = Command::new(program);
    command.args(["-namespace", &flags.namespace, "-id", &flags.id, "-address", &flags.address]);
    command.arg("-socket").arg(socket);
    if flags.debug {
        command.arg("-debug");
    }
    command.env_clear().env(TTRPC_ADDRESS, ttrpc);
    for name in VARIABLES {
        command.envs(env::var_os(name).map(|value| (name, value)));
    }
    command
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.process_group(0).spawn().context(|| "start the shim's process")?;
    // A node may forbid the change. The shim works without it.
    if let Err(error) = raise_oom_score(child.id()) {
        eprintln!("{PROGRAM}: set oom_score_adj of process {}: {error}", child.id());
    }
    Ok(())
}

/// Sets the shim's `oom_score_adj` to one above containerd's, so that the kernel kills a shim before containerd.
fn raise_oom_score(pid: u32) -> io::Result<()> {
    let score = std::fs::read_to_string(format!("/proc/{}/oom_score_adj", parent_id()))?;
    let score: i64 = score.trim().parse().map_err(io::Error::other)?;
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), (score + 1).min(OOM_SCORE_MAX).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Flags {
        Flags { id: "c1".to_owned(), namespace: "k8s.io".to_owned(), ..Flags::default() }
    }

    #[test]
    fn the_new_protocol_is_known_by_the_container_s_own_id() {
        let sent = BootstrapParams {
            instance_id: "c1".to_owned(),
            namespace: "k8s.io".to_owned(),
            ..BootstrapParams::default()
        };
        assert!(params(&sent.write_to_bytes().unwrap(), &flags()).is_some());
        let other = BootstrapParams { instance_id: "c2".to_owned(), ..sent };
        assert!(params(&other.write_to_bytes().unwrap(), &flags()).is_none());
    }

    #[test]
    fn nothing_and_runtime_options_are_the_old_one() {
        assert!(params(&[], &flags()).is_none());
        let options = containerd_shim_protos::protobuf::well_known_types::any::Any {
            type_url: "containerd.runc.v1.Options".to_owned(),
            value: vec![1, 2, 3],
            ..Default::default()
        };
        assert!(params(&options.write_to_bytes().unwrap(), &flags()).is_none());
    }

    #[test]
    fn the_old_answer_is_the_address_alone() {
        assert_eq!(encode("unix:///run/s", false).unwrap(), b"unix:///run/s");
        let new = BootstrapResult::parse_from_bytes(&encode("unix:///run/s", true).unwrap()).unwrap();
        assert_eq!((new.version, new.address.as_str(), new.protocol.as_str()), (3, "unix:///run/s", "ttrpc"));
    }
}
