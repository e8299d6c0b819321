//! `start`: containerd asks for a shim's address. One shim serves a whole pod.

use std::{
    env,
    io::{self, Read as _, Write as _},
    os::unix::{
        net::{UnixListener, UnixStream},
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
    flags::Flags,
    spec::Spec,
};

/// Annotations that name the pod a container belongs to: CRI's, and that of nerdctl's and other clients' groups.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];
/// containerd's events socket, in the environment of both programs.
pub(crate) const TTRPC_ADDRESS: &str = "TTRPC_ADDRESS";
/// Where compiled code is kept, in the environment of containerd.
pub(crate) const CACHE_DIR: &str = "WASI_HTTP_SHIM_CACHE_DIR";
/// Bytes that containerd may send.
const INPUT_MAX: u64 = 10 << 20;
/// Where sockets of shims lie unless containerd names another directory.
const SOCKETS: &str = "/run/containerd/s";
const ADDRESS_FILE: &str = "address";
const PROTOCOL: &str = "ttrpc";
/// Newest version of the task service that we serve.
const VERSION: i32 = 3;
/// Above containerd's own, so that containerd is killed after its shims.
const OOM_SCORE_MAX: i64 = 1000;

/// Starts the pod's shim unless it runs, and prints its address.
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
    let group = GROUPS.iter().find_map(|key| spec.annotation(key)).unwrap_or(&flags.id);
    let directory =
        params.as_ref().and_then(|params| params.socket_dir.clone()).filter(|dir| !dir.is_empty());
    let address = address(directory.as_deref().unwrap_or(SOCKETS), flags, group);
    let path = PathBuf::from(address.strip_prefix("unix://").unwrap_or(&address));
    if let Some(listener) = listen(&path)? {
        spawn(flags, &ttrpc, &path, listener)?;
    }
    // Where containerd 1.6 looks for the shim again when it restarts; later ones keep it themselves.
    std::fs::write(bundle.join(ADDRESS_FILE), &address).context(|| ADDRESS_FILE)?;
    let mut reply = io::stdout().lock();
    reply.write_all(&encode(&address, params.is_some())?).and_then(|()| reply.flush()).context(|| "stdout")
}

/// Of the shim of `group`: a name of fixed length, as a socket's path has at most 107 bytes.
fn address(directory: &str, flags: &Flags, group: &str) -> String {
    let hash = Sha256::digest([flags.address.as_str(), &flags.namespace, group].join("/"));
    let name: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("unix://{}/{name}", directory.trim_end_matches('/'))
}

/// What containerd 2.3 and later send; `None` from earlier ones, which send nothing or runtime options. Those decode
/// as this message too, but not with this very container's id in the right field.
fn params(input: &[u8], flags: &Flags) -> Option<BootstrapParams> {
    let params = BootstrapParams::parse_from_bytes(input).ok()?;
    (params.instance_id == flags.id && params.namespace == flags.namespace).then_some(params)
}

/// The answer. Earlier ones take a bare address for the second version of the task service, which we serve as well:
/// so one answer fits them all, from 1.6 to 2.2.
fn encode(address: &str, bootstrap: bool) -> Result<Vec<u8>> {
    if !bootstrap {
        return Ok(address.as_bytes().to_vec());
    }
    let result = BootstrapResult {
        version: VERSION,
        address: address.to_owned(),
        protocol: PROTOCOL.to_owned(),
        ..BootstrapResult::default()
    };
    result.write_to_bytes().map_err(|error| Error::Other(error.to_string()))
}

/// The pod's socket; `None` if its shim listens there already. A socket that nobody listens at is a dead shim's.
fn listen(path: &Path) -> Result<Option<UnixListener>> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent).context(|| parent.display())?;
    }
    match UnixListener::bind(path) {
        Ok(listener) => return Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        Err(error) => return Err(error).context(|| path.display()),
    }
    if UnixStream::connect(path).is_ok() {
        return Ok(None);
    }
    std::fs::remove_file(path).context(|| path.display())?;
    UnixListener::bind(path).map(Some).context(|| path.display())
}

/// Starts the shim proper. It gets the listening socket as its standard input, so that containerd can connect at
/// once, and no more of this environment than it needs.
fn spawn(flags: &Flags, ttrpc: &str, socket: &Path, listener: UnixListener) -> Result<()> {
    let program = env::current_exe().context(|| "own path")?;
    let mut command = Command::new(program);
    command.args(["-namespace", &flags.namespace, "-id", &flags.id, "-address", &flags.address]);
    command.arg("-socket").arg(socket);
    if flags.debug {
        command.arg("-debug");
    }
    command.env_clear().env(TTRPC_ADDRESS, ttrpc);
    for name in ["PATH", CACHE_DIR] {
        command.envs(env::var_os(name).map(|value| (name, value)));
    }
    command
        .stdin(Stdio::from(std::os::fd::OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let child = command.process_group(0).spawn().context(|| "cannot start the shim")?;
    if let Err(error) = raise_oom_score(child.id()) {
        eprintln!("oom_score_adj: {error}");
    }
    Ok(())
}

/// One above containerd's. A node that does not allow it runs the shim all the same.
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

    #[test]
    fn a_dead_shim_s_socket_is_replaced_and_a_live_one_s_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s/x");
        let listener = listen(&path).unwrap().unwrap();
        assert!(listen(&path).unwrap().is_none());
        drop(listener);
        assert!(listen(&path).unwrap().is_some());
    }
}
