//! The thread that writes changes to the file.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    database::{Database, FileError, set_aside},
    stats::{FileStats, now_ms},
};
use crate::stores::memory::{Changes, MemoryStore};

/// The pause between two transactions, unless each change is waited for.
pub(super) const FLUSH_EVERY: Duration = Duration::from_millis(100);
/// The pause after a transaction that failed.
pub(super) const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How often the log repeats that the file cannot be written.
const REPORT_EVERY: Duration = Duration::from_secs(60);
/// How often the bound of the store the file may be. redb writes a changed page to a new place, and rounds large values up to a power
/// of two. A file that is larger is compacted.
const MAX_FILE_SHARE: u64 = 4;
/// A file that is smaller is not compacted: this is what redb takes at least.
const SMALL_FILE_BYTES: u64 = 4 << 20;

pub(super) struct Writer {
    pub(super) path: PathBuf,
    pub(super) memory: Arc<MemoryStore>,
    pub(super) changes: Arc<Changes>,
    pub(super) stats: Arc<FileStats>,
    pub(super) max_bytes: u64,
    /// The pause between two transactions.
    pub(super) pause: Duration,
    /// `None` after a failure, until the file can be opened again.
    pub(super) database: Option<Database>,
    /// When the log last told of a failure; `None` where the last transaction succeeded.
    pub(super) reported: Option<Instant>,
}

impl Writer {
    /// Writes until the store is closed.
    pub(super) fn run(mut self) {
        loop {
            let is_last = self.changes.wait();
            let pause = if self.flush() { self.pause } else { RETRY_EVERY };
            if is_last {
                return;
            }
            self.changes.pause(pause);
        }
    }

    /// Writes what has changed. Returns whether that succeeded.
    fn flush(&mut self) -> bool {
        match self.try_flush() {
            Ok(()) => {
                if self.reported.take().is_some() {
                    tracing::info!(file = %self.path.display(), "the key-value store's file can be written again");
                }
                true
            }
            Err(error) => {
                // redb does not write any more with a database that has failed to write.
                self.database = None;
                self.stats.failures.inc();
                self.report(&error);
                false
            }
        }
    }

    fn try_flush(&mut self) -> Result<(), FileError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => self.reopen()?,
        };
        let database = self.database.insert(database);
        let since_ms = now_ms();
        let changeset = self.memory.take(&self.changes);
        let written = database.write(&changeset);
        if written.is_err() {
            self.changes.put_back(&changeset);
        }
        self.changes.written(written.is_ok());
        written?;
        self.bound_the_file();
        self.stats.flushed(since_ms, self.database.as_ref().map_or(0, Database::file_bytes));
        Ok(())
    }

    /// Opens the file again after a failure.
    fn reopen(&self) -> Result<Database, FileError> {
        let (database, is_new) = match Database::open(&self.path) {
            Err(FileError::Corrupt(reason)) => {
                set_aside(&self.path, &reason)?;
                Database::open(&self.path)?
            }
            opened => opened?,
        };
        if is_new {
            self.changes.mark_all();
        }
        Ok(database)
    }

    fn bound_the_file(&mut self) {
        let most = self.max_bytes.saturating_mul(MAX_FILE_SHARE).max(SMALL_FILE_BYTES);
        let Some(database) = &mut self.database else { return };
        if database.file_bytes() > most
            && let Err(error) = database.compact()
        {
            tracing::warn!(file = %self.path.display(), error, "cannot compact the key-value store's file");
            self.database = None;
        }
    }

    fn report(&mut self, error: &FileError) {
        if self.reported.is_some_and(|last| last.elapsed() < REPORT_EVERY) {
            return;
        }
        self.reported = Some(Instant::now());
        tracing::error!(
            file = %self.path.display(),
            %error,
            "cannot write the key-value store's file: the store continues in memory and retries"
        );
    }
}
