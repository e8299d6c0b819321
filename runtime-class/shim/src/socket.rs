//! The socket of a pod's shim. Its path depends on the pod only, so that each `start` finds the pod's shim, and a later
//! shim of the same name gets the same path.
//!
//! - Whoever replaces or removes a socket holds the lock of its directory. Two processes therefore never both take a socket
//!   for a dead shim's, and no socket is replaced between a check and a removal.
//! - A shim removes the file that it found at its path when it started, and no other.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _},
        net::UnixListener,
    },
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc::{O_NOFOLLOW, O_PATH},
};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use crate::error::{Context as _, Error, Result};

/// Time for other processes to release the directory's lock. Each holds it for microseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Binds the socket `path`. `None`: a shim already listens there. A socket without a listener is left over from a dead shim,
/// and is replaced.
///
/// # Errors
/// When the socket cannot be bound, or its directory is locked for 10 s.
pub(crate) fn listen(path: &Path) -> Result<Option<UnixListener>> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory).context(|| directory.display())?;
    let _lock = lock(directory)?;
    match UnixListener::bind(path) {
        Ok(listener) => return Ok(Some(listener)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
        Err(error) => return Err(error).context(|| path.display()),
    }
    if has_listener(path).context(|| path.display())? {
        return Ok(None);
    }
    fs::remove_file(path).context(|| path.display())?;
    UnixListener::bind(path).map(Some).context(|| path.display())
}

/// Whether a process listens at `path`. Does not wait: a process whose queue is full listens too.
fn has_listener(path: &Path) -> io::Result<bool> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(socket, &SocketAddrUnix::new(path)?) {
        Ok(()) | Err(rustix::io::Errno::AGAIN) => Ok(true),
        Err(rustix::io::Errno::CONNREFUSED) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn lock(directory: &Path) -> Result<Flock<File>> {
    let started = Instant::now();
    loop {
        let open = File::open(directory).context(|| directory.display())?;
        match Flock::lock(open, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if started.elapsed() < LOCK_TIMEOUT => thread::sleep(LOCK_PAUSE),
            Err((_, error)) => return Err(Error::Other(format!("lock {}: {error}", directory.display()))),
        }
    }
}

/// The file of a shim's own socket.
pub(crate) struct SocketFile {
    path: PathBuf,
    /// Kept open, so that the number of its inode is not used again. `None` if there was no file.
    file: Option<File>,
    removed: AtomicBool,
}

impl SocketFile {
    /// The file at `path`, where this process listens.
    pub(crate) fn of(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).custom_flags(O_PATH | O_NOFOLLOW).open(path).ok();
        Self { path: path.to_owned(), file, removed: AtomicBool::new(false) }
    }

    /// Removes the file, unless another shim's socket has its path. Call while this process still listens: a socket without
    /// a listener may be replaced at any time. Later calls do nothing.
    ///
    /// Best effort: the next shim of the name replaces a socket that was not removed.
    pub(crate) fn remove(&self) {
        if self.removed.swap(true, Ordering::Relaxed) {
            return;
        }
        let removed = lock(self.path.parent().unwrap_or(Path::new("/"))).and_then(|_lock| {
            let (Some(file), Ok(named)) = (&self.file, fs::symlink_metadata(&self.path)) else {
                return Ok(());
            };
            let own = file.metadata().context(|| self.path.display())?;
            if (named.dev(), named.ino()) != (own.dev(), own.ino()) {
                return Ok(());
            }
            fs::remove_file(&self.path).context(|| self.path.display())
        });
        if let Err(error) = removed {
            log::warn!("remove the shim's socket: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, sync::Barrier};

    use super::*;

    #[test]
    fn a_dead_shim_s_socket_is_replaced_and_a_live_one_s_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s/x");
        let listener = listen(&path).unwrap().unwrap();
        assert!(listen(&path).unwrap().is_none());
        drop(listener);
        assert!(listen(&path).unwrap().is_some());
    }

    #[test]
    fn a_shim_that_ends_removes_its_own_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let _listener = listen(&path).unwrap().unwrap();
        SocketFile::of(&path).remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_shim_that_ends_leaves_the_next_shim_s_socket() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let old = listen(&path).unwrap().unwrap();
        let file = SocketFile::of(&path);
        // The old shim's listener is closed before the socket is removed.
        drop(old);
        let _new = listen(&path).unwrap().unwrap();
        file.remove();
        UnixStream::connect(&path).unwrap();
        // Removed by the old shim, and bound again: the old shim removes nothing a second time.
        let old = SocketFile::of(&path);
        old.remove();
        let _new = listen(&path).unwrap().unwrap();
        old.remove();
        UnixStream::connect(&path).unwrap();
    }

    /// Of several starts that find a dead shim's socket, one gets the listener, and its socket stays.
    #[test]
    fn one_of_many_starts_replaces_a_dead_shim_s_socket() {
        const STARTS: usize = 4;
        let directory = tempfile::tempdir().unwrap();
        for round in 0..100 {
            let path = directory.path().join(round.to_string());
            drop(UnixListener::bind(&path).unwrap());
            let barrier = Barrier::new(STARTS);
            let listeners: Vec<UnixListener> = thread::scope(|scope| {
                let starts: Vec<_> = (0..STARTS)
                    .map(|_| {
                        scope.spawn(|| {
                            barrier.wait();
                            listen(&path).unwrap()
                        })
                    })
                    .collect();
                starts.into_iter().filter_map(|start| start.join().unwrap()).collect()
            });
            let [listener] = listeners.as_slice() else { panic!("{} listeners", listeners.len()) };
            let _client = UnixStream::connect(&path).unwrap();
            listener.set_nonblocking(true).unwrap();
            // The other starts have connected too.
            let mut accepted = 0;
            while listener.accept().is_ok() {
                accepted += 1;
            }
            assert_eq!(accepted, STARTS, "the socket is another listener's");
        }
    }

    /// A `start` must not wait for a shim that accepts nothing, while it holds the lock of all pods.
    #[test]
    fn a_shim_with_a_full_queue_is_alive() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x");
        let listener = listen(&path).unwrap().unwrap();
        rustix::net::listen(&listener, 0).unwrap();
        let _first = UnixStream::connect(&path).unwrap();
        assert!(listen(&path).unwrap().is_none());
    }
}
