//! The `delete` action: containerd calls it after a shim's death, to remove what the shim left of a container.

use std::{
    env, fs,
    io::{self, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
    time::SystemTime,
};

use containerd_shim_protos::{api::DeleteResponse, protobuf::Message as _};

use crate::{
    error::{Context as _, Error, Result},
    flags::{Flags, PROGRAM},
    message,
    options::Options,
    rootfs,
    spec::Spec,
};

/// The exit status that is reported. The real one is unknown, because the shim died: 137 stands for `SIGKILL`.
const STATUS: u32 = 128 + 9;

/// Removes the container `flags.id`, and prints a `DeleteResponse` to standard output.
///
/// # Errors
/// When `runc` cannot be started or standard output cannot be written.
pub(crate) fn delete(flags: &Flags) -> Result<()> {
    let bundle = if flags.bundle.is_empty() {
        let here = env::current_dir().context(|| "working directory")?;
        here.parent().unwrap_or(&here).join(&flags.id)
    } else {
        PathBuf::from(&flags.bundle)
    };
    let options = Options::load(&bundle);
    let mut command = Command::new(options.binary());
    command.arg("--root").arg(options.root(&flags.namespace));
    if options.systemd_cgroup || Spec::read(&bundle).is_ok_and(|spec| spec.systemd_cgroup()) {
        command.arg("--systemd-cgroup");
    }
    command.args(["delete", "--force", &flags.id]);
    command.env_clear().envs(env::var_os("PATH").map(|path| ("PATH", path)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.status().context(|| format!("run {}", options.binary()))?;
    if !status.success() {
        // No error: containerd removes the bundle in any case, and copies standard error into its log.
        eprintln!("{PROGRAM}: {} delete --force {}: {status}", options.binary(), flags.id);
    }
    rootfs::unmount(&bundle.join("rootfs"));
    let pid = fs::read_to_string(bundle.join("init.pid")).unwrap_or_default();
    let mut response = DeleteResponse::new();
    response.set_pid(pid.trim().parse().unwrap_or(0));
    response.set_exit_status(STATUS);
    response.set_exited_at(message::timestamp(SystemTime::now()));
    let reply = response.write_to_bytes().map_err(|error| Error::Other(error.to_string()))?;
    io::stdout().lock().write_all(&reply).context(|| "stdout")
}
