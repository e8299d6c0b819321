//! The store: a [`MemoryStore`] and the thread that writes what changes in it.

use std::{
    fmt,
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, absolute},
    str::FromStr,
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::timeout;
use wasi_http_host_core::lock;

use super::{
    database::{Database, FileError, set_aside},
    lock_file::LockFile,
    stats::{FileStats, now_ms},
    writer::{FLUSH_EVERY, Writer},
};
use crate::{
    Answer, Error, KeyPage, Samples, Snapshot, Store, Swap,
    stores::memory::{Changes, MemoryStore},
};

/// How long an operation waits for the file with [`FileSync::Always`].
const SYNC_LIMIT: Duration = Duration::from_secs(5);

/// When a store in a file answers an operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FileSync {
    /// At once. The file has the change within [`FLUSH_EVERY`] and the time of two transactions.
    #[default]
    Interval,
    /// When the file has what the operation has changed or read. Operations at the same time share a transaction.
    Always,
}

impl fmt::Display for FileSync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interval => "interval",
            Self::Always => "always",
        })
    }
}

impl FromStr for FileSync {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "interval" => Ok(Self::Interval),
            "always" => Ok(Self::Always),
            _ => Err(format!("{text:?} is not known: write `interval` or `always`")),
        }
    }
}

/// A store in memory that a file keeps.
pub(in crate::stores) struct FileStore {
    memory: Arc<MemoryStore>,
    changes: Arc<Changes>,
    stats: Arc<FileStats>,
    sync: FileSync,
    writer: Mutex<Option<JoinHandle<()>>>,
    _lock: LockFile,
}

impl FileStore {
    /// The path in the URL `file:PATH`, or `file:///PATH`.
    ///
    /// # Errors
    /// When there is none.
    pub(in crate::stores) fn path(url: &str) -> Result<&Path, String> {
        let path = url.split_once(':').map_or("", |(_, path)| path);
        match path.strip_prefix("//") {
            _ if path.is_empty() || path.ends_with('/') => Err("it must be file:PATH".to_owned()),
            Some(path) if path.starts_with('/') => Ok(Path::new(path)),
            Some(_) => Err("a file: URL has no host; it must be file:PATH or file:///PATH".to_owned()),
            None => Ok(Path::new(path)),
        }
    }

    /// Opens the file, or makes a new one and its directory, and loads what it holds. Memory holds at most about `max_bytes`.
    ///
    /// # Errors
    /// When another process has the file open, or the file cannot be read or made. Names the file.
    pub(in crate::stores) fn open(path: &Path, max_bytes: u64, sync: FileSync) -> Result<Self, String> {
        let path = absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let failed = |error: &dyn fmt::Display| format!("the file {}: {error}", path.display());
        if let Some(directory) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.map_err(|error| format!("the directory {}: {error}", directory.display()))?;
        }
        let Some(lock) = LockFile::acquire(&path).map_err(|error| failed(&error))? else {
            return Err(failed(&"another process uses it"));
        };
        let changes = Arc::new(Changes::new(max_bytes / 8));
        let stats = Arc::new(FileStats::default());
        let (memory, database) = load(&path, max_bytes, &changes).map_err(|error| failed(&error))?;
        let memory = Arc::new(memory);
        let file_bytes = database.as_ref().map_or(0, Database::file_bytes);
        stats.opened(now_ms(), file_bytes);
        let writer = Writer {
            path: path.clone(),
            memory: memory.clone(),
            changes: changes.clone(),
            stats: stats.clone(),
            max_bytes,
            pause: if sync == FileSync::Always { Duration::ZERO } else { FLUSH_EVERY },
            database,
            reported: None,
        };
        let thread = thread::Builder::new().name("store-writer".to_owned()).spawn(|| writer.run());
        let writer = Mutex::new(Some(thread.map_err(|error| failed(&error))?));
        Ok(Self { memory, changes, stats, sync, writer, _lock: lock })
    }

    /// The answer, given when the file has what the operation has changed or read. A read waits, too: what it tells must not be lost by
    /// a crash afterwards.
    fn kept<R: Send + 'static>(&self, result: Result<R, Error>) -> Answer<R> {
        if self.sync == FileSync::Interval || result.is_err() {
            return result.into();
        }
        let Some(durable) = self.changes.durable() else { return result.into() };
        Answer::pending(async move {
            timeout(SYNC_LIMIT, durable).await.map_err(|_| {
                Error::other(format_args!("the store's file was not written within {SYNC_LIMIT:?}"))
            })?;
            result
        })
    }
}

/// Opens the database and loads it into memory. `None`: there is no database yet, and the writer tries again to make one.
fn load(
    path: &Path,
    max_bytes: u64,
    changes: &Arc<Changes>,
) -> Result<(MemoryStore, Option<Database>), FileError> {
    let empty = || MemoryStore::with_changes(max_bytes, changes.clone());
    let opened = Database::open(path).and_then(|(database, _)| {
        let memory = empty();
        database.load(|key, stored| memory.restore(key, stored))?;
        Ok((memory, Some(database)))
    });
    match opened {
        Err(FileError::Corrupt(reason)) => set_aside(path, &reason)?,
        Err(FileError::Full(error)) if !path.exists() => {
            tracing::error!(file = %path.display(), %error, "no disk space for the key-value store's file: the store starts in memory");
        }
        opened => return opened,
    }
    changes.mark_all();
    Ok((empty(), None))
}

impl Store for FileStore {
    fn is_local(&self) -> bool {
        self.sync == FileSync::Interval
    }

    fn get(&self, key: &str) -> Answer<Option<Bytes>> {
        self.kept(self.memory.get(key))
    }

    fn set(&self, key: &str, value: Bytes) -> Answer<()> {
        self.kept(self.memory.set(key, value))
    }

    fn delete(&self, key: &str) -> Answer<()> {
        self.kept(self.memory.delete(key))
    }

    fn list_keys(&self, cursor: Option<&str>) -> Answer<KeyPage> {
        self.kept(self.memory.list_keys_of("", cursor))
    }

    fn list_keys_of(&self, prefix: &str, cursor: Option<&str>) -> Answer<KeyPage> {
        self.kept(self.memory.list_keys_of(prefix, cursor))
    }

    fn increment(&self, key: &str, delta: i64) -> Answer<i64> {
        self.kept(self.memory.increment(key, delta))
    }

    fn snapshot(&self, key: &str) -> Answer<Snapshot> {
        self.kept(self.memory.snapshot(key))
    }

    fn swap(&self, key: &str, seen: &Snapshot, value: Bytes) -> Answer<Swap> {
        self.kept(self.memory.swap(key, seen, value))
    }

    fn measure(&self, name: &str, samples: &mut Samples) {
        self.memory.measure(name, samples);
        let now_ms = now_ms();
        self.stats.measure(name, self.changes.is_clean().then_some(now_ms), samples);
    }

    /// Writes what has changed since the last transaction. What changes later is in memory only.
    fn close(&self) {
        self.changes.close();
        if let Some(thread) = lock(&self.writer).take()
            && thread.join().is_err()
        {
            tracing::error!("the key-value store's writer panicked: the last changes may be lost");
        }
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        self.close();
    }
}
