//! The store: a [`MemoryStore`] and the thread that writes what changes in it.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, absolute},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
};

use bytes::Bytes;
use wasi_http_host_core::lock;

use super::{
    database::{Database, FileError, set_aside},
    lock_file::LockFile,
    stats::{FileStats, now_ms},
    writer::Writer,
};
use crate::{
    Answer, KeyPage, Samples, Snapshot, Store, Swap,
    stores::memory::{Changes, MemoryStore},
};

/// A store in memory that a file keeps.
pub(in crate::stores) struct FileStore {
    memory: Arc<MemoryStore>,
    changes: Arc<Changes>,
    stats: Arc<FileStats>,
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
    pub(in crate::stores) fn open(path: &Path, max_bytes: u64) -> Result<Self, String> {
        let path = absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let failed = |error: &dyn std::fmt::Display| format!("the file {}: {error}", path.display());
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
            database,
            reported: None,
        };
        let thread = thread::Builder::new().name("store-writer".to_owned()).spawn(|| writer.run());
        let writer = Mutex::new(Some(thread.map_err(|error| failed(&error))?));
        Ok(Self { memory, changes, stats, writer, _lock: lock })
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
    fn get(&self, key: &str) -> Answer<Option<Bytes>> {
        self.memory.get(key).into()
    }

    fn set(&self, key: &str, value: Bytes) -> Answer<()> {
        self.memory.set(key, value).into()
    }

    fn delete(&self, key: &str) -> Answer<()> {
        self.memory.delete(key).into()
    }

    fn list_keys(&self, cursor: Option<&str>) -> Answer<KeyPage> {
        self.memory.list_keys_of("", cursor).into()
    }

    fn list_keys_of(&self, prefix: &str, cursor: Option<&str>) -> Answer<KeyPage> {
        self.memory.list_keys_of(prefix, cursor).into()
    }

    fn increment(&self, key: &str, delta: i64) -> Answer<i64> {
        self.memory.increment(key, delta).into()
    }

    fn snapshot(&self, key: &str) -> Answer<Snapshot> {
        self.memory.snapshot(key).into()
    }

    fn swap(&self, key: &str, seen: &Snapshot, value: Bytes) -> Answer<Swap> {
        self.memory.swap(key, seen, value).into()
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
