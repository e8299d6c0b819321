//! A process's terminal: `runc` sends the pseudoterminal's master over a socket (`--console-socket`), and the shim copies
//! between the master and containerd's fifos.

use std::{
    fs::File,
    io::{IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    termios::{Winsize, tcsetwinsize},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, unix::AsyncFd},
    net::{
        UnixListener,
        unix::pipe::{self, OpenOptions},
    },
    task::JoinHandle,
    time::timeout,
};

use crate::{
    error::{Context as _, Error, Result},
    stdio::{StdioPaths, hold},
};

/// Directory of the sockets. Only root can enter it, and its path is short: a socket's path has at most 107 bytes.
const DIRECTORY: &str = "/run/containerd/s";
/// Time to receive the terminal after `runc` has exited.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the reader to take the remaining output after the process has exited.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes that are copied at once.
const BUFFER: usize = 4096;

/// The socket over which `runc` sends a terminal's master.
pub(crate) struct ConsoleSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl ConsoleSocket {
    /// Listens at a new path. Dropping the socket removes the path.
    pub(crate) fn new() -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        std::fs::create_dir_all(DIRECTORY).context(|| DIRECTORY)?;
        let name = format!("wasi-http-{}-{}.pty", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(DIRECTORY).join(name);
        let listener = UnixListener::bind(&path).context(|| path.display())?;
        Ok(Self { listener, path })
    }

    /// The argument of `runc`'s `--console-socket`.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Receives the terminal's master. Call after `runc` has exited.
    ///
    /// # Errors
    /// When no terminal arrives within 10 s.
    pub(crate) async fn receive(&self) -> Result<OwnedFd> {
        let accepted = timeout(RECEIVE_TIMEOUT, self.listener.accept()).await;
        let (stream, _) = accepted
            .map_err(|_| {
                Error::Other(format!("runc sent no terminal within {} s", RECEIVE_TIMEOUT.as_secs()))
            })?
            .context(|| self.path.display())?;
        let stream = stream.into_std().context(|| "console socket")?;
        stream.set_nonblocking(false).context(|| "console socket")?;
        stream.set_read_timeout(Some(RECEIVE_TIMEOUT)).context(|| "console socket")?;
        receive_descriptor(&stream)
    }
}

impl Drop for ConsoleSocket {
    fn drop(&mut self) {
        // Best effort: a path that stays blocks nothing, because every socket has a new path.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Receives one file descriptor (`unix(7)`, `SCM_RIGHTS`). The message's bytes are the terminal's name, which is not used.
fn receive_descriptor(stream: &UnixStream) -> Result<OwnedFd> {
    let mut name = [0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(stream, &mut [IoSliceMut::new(&mut name)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .context(|| "console socket")?;
    let mut messages = control.drain();
    let rights = messages.find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    rights.ok_or_else(|| Error::Other("runc sent a message without a terminal".to_owned()))
}

/// A running process's terminal, with the tasks that copy its input and output.
pub(crate) struct Console {
    master: Arc<AsyncFd<File>>,
    /// A writer of the input's fifo: the fifo ends only after containerd's `CloseIO`.
    stdin: Option<File>,
    input: Option<JoinHandle<()>>,
    output: Option<JoinHandle<()>>,
}

impl Console {
    /// Starts to copy between `master` and the fifos that `paths` names.
    pub(crate) fn new(master: OwnedFd, paths: &StdioPaths) -> Result<Self> {
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context(|| "console")?;
        #[expect(unsafe_code, reason = "`AsyncFd::register` requires that the descriptor stays open")]
        // SAFETY: the `AsyncFd` owns the file. Nothing closes or replaces the descriptor before the `AsyncFd` is dropped.
        let master = unsafe { AsyncFd::register(File::from(master)) };
        let master = Arc::new(master.context(|| "console")?);
        let mut console = Self { master: Arc::clone(&master), stdin: None, input: None, output: None };
        if !paths.stdin.is_empty() {
            console.stdin = Some(hold(&paths.stdin)?);
            let fifo = OpenOptions::new().open_receiver(&paths.stdin).context(|| &paths.stdin)?;
            console.input = Some(tokio::spawn(copy_input(fifo, Arc::clone(&master))));
        }
        if !paths.stdout.is_empty() {
            let held = hold(&paths.stdout)?;
            let fifo = OpenOptions::new().open_sender(&paths.stdout).context(|| &paths.stdout)?;
            console.output = Some(tokio::spawn(copy_output(master, fifo, held)));
        }
        Ok(console)
    }

    /// Sets the terminal's size in characters.
    pub(crate) fn resize(&self, width: u32, height: u32) -> Result<()> {
        let size = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        let winsize = Winsize { ws_row: size(height), ws_col: size(width), ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.master.get_ref(), winsize).context(|| "resize the terminal")
    }

    /// Drops the shim's writer: the input ends when the other writers have gone.
    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Copies the remaining output for at most [`DRAIN_TIMEOUT`], because another process may keep the terminal open.
    /// Then stops both copies.
    pub(crate) async fn finish(mut self) {
        if let Some(mut output) = self.output.take()
            && timeout(DRAIN_TIMEOUT, &mut output).await.is_err()
        {
            output.abort();
        }
        if let Some(input) = &self.input {
            input.abort();
        }
    }
}

/// Copies until the last writer of the fifo has gone or the terminal is closed.
async fn copy_input(mut fifo: pipe::Receiver, master: Arc<AsyncFd<File>>) {
    let mut buffer = vec![0; BUFFER];
    while let Ok(read @ 1..) = fifo.read(&mut buffer).await {
        let mut rest = buffer.get(..read).unwrap_or_default();
        while !rest.is_empty() {
            let Ok(mut ready) = master.writable().await else { return };
            match ready.try_io(|master| master.get_ref().write(rest)) {
                Ok(Ok(written)) => rest = rest.get(written..).unwrap_or_default(),
                Ok(Err(_)) => return,
                Err(_would_block) => {}
            }
        }
    }
}

/// Copies until all processes have closed the terminal, which a read reports as `EIO`. `_held` is a reader, so that
/// writing does not fail while containerd restarts.
async fn copy_output(master: Arc<AsyncFd<File>>, mut fifo: pipe::Sender, _held: File) {
    let mut buffer = vec![0; BUFFER];
    loop {
        let Ok(mut ready) = master.readable().await else { return };
        match ready.try_io(|master| master.get_ref().read(&mut buffer)) {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(read)) => {
                if fifo.write_all(buffer.get(..read).unwrap_or_default()).await.is_err() {
                    return;
                }
            }
            Err(_would_block) => {}
        }
    }
}
