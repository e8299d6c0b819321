//! A process's streams.
//!
//! Without a terminal, the process writes into containerd's fifos itself: no byte of a log passes through the shim.
//! The shim only holds the fifos open, so that a restart of containerd neither kills a writer nor ends a reader.

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

/// What containerd asks for: paths of fifos, each of which may be empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    /// Fifo that the process reads.
    pub(crate) stdin: String,
    /// Fifo or `file://` path that it writes.
    pub(crate) stdout: String,
    /// Likewise.
    pub(crate) stderr: String,
    /// Whether it gets a terminal, and no stream of its own for errors.
    pub(crate) terminal: bool,
}

/// What a program is started with.
pub(crate) struct Streams {
    pub(crate) stdin: Stdio,
    pub(crate) stdout: Stdio,
    pub(crate) stderr: Stdio,
}

impl Streams {
    /// None at all.
    pub(crate) fn none() -> Self {
        Self { stdin: Stdio::null(), stdout: Stdio::null(), stderr: Stdio::null() }
    }
}

/// The shim's own ends of the fifos.
#[derive(Default)]
pub(crate) struct Held {
    /// Until containerd says that no more input comes.
    pub(crate) stdin: Option<File>,
    /// Until the process ends: then the readers must see the end too.
    pub(crate) outputs: Vec<File>,
}

/// Opens what `wanted` names.
pub(crate) fn open(wanted: &Wanted) -> Result<(Streams, Held)> {
    let mut held = Held::default();
    let stdin = if wanted.stdin.is_empty() {
        Stdio::null()
    } else {
        held.stdin = Some(hold(&wanted.stdin)?);
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(O_NONBLOCK)
            .open(&wanted.stdin)
            .context(|| format!("stdin {}", wanted.stdin))?;
        // Opening must not wait for a writer; reading must.
        fcntl(&file, FcntlArg::F_SETFL(OFlag::empty())).context(|| format!("stdin {}", wanted.stdin))?;
        file.into()
    };
    let stdout = output("stdout", &wanted.stdout, &mut held)?;
    let stderr = output("stderr", &wanted.stderr, &mut held)?;
    Ok((Streams { stdin, stdout, stderr }, held))
}

fn output(name: &str, target: &str, held: &mut Held) -> Result<Stdio> {
    if target.is_empty() {
        return Ok(Stdio::null());
    }
    let path = match target.split_once("://") {
        None => target,
        Some(("file" | "fifo", path)) => path.split('?').next().unwrap_or(path),
        Some((scheme, _)) => {
            return Err(Error::Unimplemented(format!(
                "{name} {target}: no {scheme}: logging, only a fifo or file:"
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

/// Opens a fifo for both directions, which never waits.
pub(crate) fn hold(path: &str) -> Result<File> {
    OpenOptions::new().read(true).write(true).custom_flags(O_NONBLOCK).open(path).context(|| path)
}
