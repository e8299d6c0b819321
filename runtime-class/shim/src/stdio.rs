//! A process's standard streams without a terminal.
//!
//! The process writes into containerd's fifos itself: no byte of a log passes through the shim. The shim only keeps the
//! fifos open. If containerd restarts, the writer therefore gets no `SIGPIPE`, and the reader sees no end of file.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    process::Stdio,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    libc::O_NONBLOCK,
};

use crate::error::{Context as _, Error, Result};

/// The streams that containerd's `Create` or `Exec` request names. An empty path stands for `/dev/null`.
#[derive(Clone, Debug, Default)]
pub(crate) struct StdioPaths {
    /// Path of a fifo that the process reads.
    pub(crate) stdin: String,
    /// Path of a fifo that the process writes to, or `file://` and a path.
    pub(crate) stdout: String,
    /// As `stdout`.
    pub(crate) stderr: String,
    /// The process gets a terminal. The terminal carries standard error too.
    pub(crate) terminal: bool,
}

/// The streams that a program is started with.
pub(crate) struct Streams {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

impl Streams {
    /// All three are `/dev/null`.
    pub(crate) fn null() -> Self {
        Self { stdin: Stdio::null(), stdout: Stdio::null(), stderr: Stdio::null() }
    }
}

/// The fifos that the shim keeps open.
#[derive(Default)]
pub(crate) struct HeldFifos {
    /// Kept until containerd closes the input.
    pub(crate) stdin: Option<File>,
    /// Kept until the process exits. Closing them lets the readers see the end.
    pub(crate) outputs: Vec<File>,
}

/// Opens the streams of a process without a terminal.
///
/// # Errors
/// When a path cannot be opened; `Unimplemented` for another scheme than `file://` or `fifo://`.
pub(crate) fn open(paths: &StdioPaths) -> Result<(Streams, HeldFifos)> {
    let mut held = HeldFifos::default();
    let stdin = if paths.stdin.is_empty() {
        Stdio::null()
    } else {
        held.stdin = Some(hold(&paths.stdin)?);
        // O_NONBLOCK for the open alone, which would otherwise wait for a writer. The process's reads must wait.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open(&paths.stdin)
            .context(|| format!("stdin {}", paths.stdin))?;
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).context(|| format!("stdin {}", paths.stdin))?;
        file.into()
    };
    let stdout = open_output("stdout", &paths.stdout, &mut held)?;
    let stderr = open_output("stderr", &paths.stderr, &mut held)?;
    Ok((Streams { stdin, stdout, stderr }, held))
}

fn open_output(name: &str, target: &str, held: &mut HeldFifos) -> Result<Stdio> {
    if target.is_empty() {
        return Ok(Stdio::null());
    }
    let path = match target.split_once("://") {
        None => target,
        Some(("file" | "fifo", path)) => path.split('?').next().unwrap_or(path),
        Some((scheme, _)) => {
            return Err(Error::Unimplemented(format!(
                "{name} {target}: logging by {scheme}:// is not supported: use a fifo or file://"
            )));
        }
    };
    let file = if std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo()) {
        held.outputs.push(hold(path)?);
        OpenOptions::new().write(true).open(path)
    } else {
        OpenOptions::new().append(true).create(true).open(path)
    };
    file.map(Stdio::from).context(|| format!("{name} {path}"))
}

/// Opens a fifo for reading and writing, which does not wait for another process.
pub(crate) fn hold(path: &str) -> Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(path).context(|| path)
}
