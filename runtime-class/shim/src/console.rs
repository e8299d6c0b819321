//! A terminal: `runc` sends its master side over a socket, and the shim copies between it and the fifos.

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
    stdio::{Wanted, hold},
};

/// Root's alone, and short: a socket's path has at most 107 bytes.
const DIRECTORY: &str = "/run/containerd/s";
/// For `runc` to send the terminal, once it has ended.
const RECEIVE_LIMIT: Duration = Duration::from_secs(10);

/// For what a process has written to its terminal to be taken after its end.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
const BUFFER: usize = 4096;

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
    master: Arc<AsyncFd<File>>,
    /// Keeps the fifo of the input from ending before containerd says so.
    stdin: Option<File>,
    input: Option<JoinHandle<()>>,
    output: Option<JoinHandle<()>>,
}

impl Console {
    /// Copies between `master` and the fifos.
    pub(crate) fn new(master: OwnedFd, wanted: &Wanted) -> Result<Self> {
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context(|| "console")?;
        #[expect(unsafe_code, reason = "tokio wants to be sure that the descriptor stays open")]
        // SAFETY: the `AsyncFd` owns the file, and nothing closes or replaces its descriptor before it is dropped.
        let master = unsafe { AsyncFd::register(File::from(master)) };
        let master = Arc::new(master.context(|| "console")?);
        let mut console = Self { master: Arc::clone(&master), stdin: None, input: None, output: None };
        if !wanted.stdin.is_empty() {
            console.stdin = Some(hold(&wanted.stdin)?);
            let fifo = OpenOptions::new().open_receiver(&wanted.stdin).context(|| &wanted.stdin)?;
            console.input = Some(tokio::spawn(copy_input(fifo, Arc::clone(&master))));
        }
        if !wanted.stdout.is_empty() {
            let held = hold(&wanted.stdout)?;
            let fifo = OpenOptions::new().open_sender(&wanted.stdout).context(|| &wanted.stdout)?;
            console.output = Some(tokio::spawn(copy_output(master, fifo, held)));
        }
        Ok(console)
    }

    /// Tells the terminal its size, in characters.
    pub(crate) fn resize(&self, width: u32, height: u32) -> Result<()> {
        let size = |value: u32| u16::try_from(value).unwrap_or(u16::MAX);
        let winsize = Winsize { ws_row: size(height), ws_col: size(width), ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(self.master.get_ref(), winsize).context(|| "resize")
    }

    /// No more input comes.
    pub(crate) fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Lets the output end, for a while: somebody may hold the terminal open.
    pub(crate) async fn finish(mut self) {
        if let Some(mut output) = self.output.take()
            && timeout(DRAIN_LIMIT, &mut output).await.is_err()
        {
            output.abort();
        }
        if let Some(input) = &self.input {
            input.abort();
        }
    }
}

/// Until the last writer of the fifo has gone, or the terminal.
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

/// Until all have closed the terminal, which reads as an error. `_held` keeps the fifo alive without a reader.
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
