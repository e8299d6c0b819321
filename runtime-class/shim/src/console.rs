//! A terminal: `runc` sends its master side over a socket, and the shim copies between it and the fifos.

use std::{
    io::IoSliceMut,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use containerd_shim::asynchronous::io::{IoTasks, Pty};
use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    termios::{Winsize, tcsetwinsize},
};
use tokio::{net::UnixListener, time::timeout};

use crate::{
    error::{Context as _, Error, Result},
    stdio::Wanted,
};

/// Root's alone, and short: a socket's path has at most 107 bytes.
const DIRECTORY: &str = "/run/containerd/s";
/// For `runc` to send the terminal, once it has ended.
const RECEIVE_LIMIT: Duration = Duration::from_secs(10);

/// Where `runc` sends a terminal to.
pub(crate) struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Listens at a path of its own.
    pub(crate) fn new() -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        std::fs::create_dir_all(DIRECTORY).context(|| DIRECTORY)?;
        let name = format!("wasi-http-{}-{}.pty", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(DIRECTORY).join(name);
        let listener = UnixListener::bind(&path).context(|| path.display())?;
        Ok(Self { listener, path })
    }

    /// For `--console-socket`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The terminal's master side, after `runc` has ended.
    pub(crate) async fn receive(&self) -> Result<OwnedFd> {
        let accepted = timeout(RECEIVE_LIMIT, self.listener.accept()).await;
        let (stream, _) = accepted
            .map_err(|_| Error::Other("runc sent no terminal".to_owned()))?
            .context(|| self.path.display())?;
        let stream = stream.into_std().context(|| "console")?;
        stream.set_nonblocking(false).context(|| "console")?;
        stream.set_read_timeout(Some(RECEIVE_LIMIT)).context(|| "console")?;
        descriptor(&stream)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // Nothing else can be done about it here.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn descriptor(stream: &UnixStream) -> Result<OwnedFd> {
    let mut name = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .context(|| "console")?;
    let mut messages = control.drain();
    let rights = messages.find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    rights.ok_or_else(|| Error::Other("runc sent no terminal".to_owned()))
}

/// A terminal in use.
pub(crate) struct Console {
    pty: Pty,
    tasks: IoTasks,
}

impl Console {
    /// Copies between `master` and the fifos.
    pub(crate) fn new(master: OwnedFd, wanted: &Wanted) -> Result<Self> {
        let pty = Pty::new(master.into())?;
        let tasks = IoTasks::default();
        if !wanted.stdin.is_empty() {
            tasks.copy_from_fifo(&wanted.stdin, pty.clone())?;
        }
        if !wanted.stdout.is_empty() {
            tasks.copy_to_fifo(pty.clone(), &wanted.stdout)?;
        }
        Ok(Self { pty, tasks })
    }

    /// Tells the terminal its size, in characters.
    pub(crate) fn resize(&self, width: u32, height: u32) -> Result<()> {
        let size = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        let winsize = Winsize { ws_row: size(height), ws_col: size(width), ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.pty, winsize).context(|| "resize")
    }

    /// No more input comes.
    pub(crate) fn close_input(&self) {
        self.tasks.close_input();
    }

    /// Lets the output end, for a while.
    pub(crate) async fn finish(self) {
        drop(self.pty);
        self.tasks.shutdown().await;
    }
}
