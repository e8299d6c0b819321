//! The file: values and counters in a redb database.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use redb::{
    Builder, DatabaseError, ReadableDatabase as _, ReadableTable as _, StorageError, TableDefinition,
    TableError, backends::FileBackend,
};

use super::stats::now_ms;
use crate::stores::memory::{Changeset, Stored};

const VALUES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("values");
const COUNTERS: TableDefinition<'_, &str, i64> = TableDefinition::new("counters");
/// Bytes of the file that redb keeps in memory. The host reads the file only when it starts.
const CACHE_BYTES: usize = 4 << 20;

/// An open database.
pub(super) struct Database {
    path: PathBuf,
    db: redb::Database,
}

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// Its content is wrong: it can be set aside.
    #[error("{0}")]
    Corrupt(String),
    /// There is no room for it.
    #[error("{0}")]
    Full(io::Error),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<io::Error> for FileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Self::Corrupt(error.to_string()),
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => Self::Full(error),
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<StorageError> for FileError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Io(error) => error.into(),
            StorageError::Corrupted(reason) => Self::Corrupt(reason),
            error => Self::Other(error.to_string()),
        }
    }
}

impl From<DatabaseError> for FileError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Storage(error) => error.into(),
            error @ (DatabaseError::UpgradeRequired(_) | DatabaseError::RepairAborted) => {
                Self::Corrupt(error.to_string())
            }
            error => Self::Other(error.to_string()),
        }
    }
}

impl From<TableError> for FileError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Storage(error) => error.into(),
            // Somebody else's database.
            error => Self::Corrupt(error.to_string()),
        }
    }
}

impl From<redb::TransactionError> for FileError {
    fn from(error: redb::TransactionError) -> Self {
        match error {
            redb::TransactionError::Storage(error) => error.into(),
            error => Self::Other(error.to_string()),
        }
    }
}

impl From<redb::CommitError> for FileError {
    fn from(error: redb::CommitError) -> Self {
        match error {
            redb::CommitError::Storage(error) => error.into(),
            error => Self::Other(error.to_string()),
        }
    }
}

impl Database {
    /// Opens the database, or makes one in a new file. Verifies the checksum of each page. Returns whether the file is new.
    pub(super) fn open(path: &Path) -> Result<(Self, bool), FileError> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(FileError::Other("it is not a regular file".to_owned()));
        }
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        let is_new = metadata.len() == 0;
        let opened = Self::unless_it_panics(|| {
            let mut builder = Builder::new();
            builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
            let db = builder.create_with_backend(FileBackend::new(file)?)?;
            let tables = db.begin_write()?;
            tables.open_table(VALUES)?;
            tables.open_table(COUNTERS)?;
            tables.commit()?;
            Ok(db)
        });
        match opened {
            Ok(db) => Ok((Self { path: path.to_owned(), db }, is_new)),
            Err(error) => {
                // Half a new database would look corrupt the next time.
                if is_new {
                    let _ = fs::remove_file(path);
                }
                Err(error)
            }
        }
    }

    /// Calls `each` with all keys.
    pub(super) fn load(&self, mut each: impl FnMut(&str, Stored)) -> Result<(), FileError> {
        Self::unless_it_panics(|| {
            let read = self.db.begin_read()?;
            for entry in read.open_table(VALUES)?.iter()? {
                let (key, value) = entry?;
                each(key.value(), Stored::Value(Bytes::copy_from_slice(value.value())));
            }
            for entry in read.open_table(COUNTERS)?.iter()? {
                let (key, value) = entry?;
                each(key.value(), Stored::Counter(value.value()));
            }
            Ok(())
        })
    }

    /// Writes the changes in one durable transaction. After an error the database cannot be used any more.
    pub(super) fn write(&self, changes: &Changeset) -> Result<(), FileError> {
        let write = self.db.begin_write()?;
        if changes.all {
            write.delete_table(VALUES)?;
            write.delete_table(COUNTERS)?;
        }
        {
            let (mut values, mut counters) = (write.open_table(VALUES)?, write.open_table(COUNTERS)?);
            for (key, stored) in &changes.entries {
                match stored {
                    Some(Stored::Value(value)) => {
                        values.insert(&**key, &**value)?;
                        counters.remove(&**key)?;
                    }
                    Some(Stored::Counter(value)) => {
                        counters.insert(&**key, *value)?;
                        values.remove(&**key)?;
                    }
                    None => {
                        values.remove(&**key)?;
                        counters.remove(&**key)?;
                    }
                }
            }
        }
        write.commit()?;
        Ok(())
    }

    /// The length of the file, in bytes.
    pub(super) fn file_bytes(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// Makes the file as small as its content allows.
    pub(super) fn compact(&mut self) -> Result<(), String> {
        self.db.compact().map(drop).map_err(|error| error.to_string())
    }

    /// redb promises errors rather than panics where it has checked the file. A panic in spite of that must not end the host.
    fn unless_it_panics<R>(call: impl FnOnce() -> Result<R, FileError>) -> Result<R, FileError> {
        catch_unwind(AssertUnwindSafe(call))
            .unwrap_or_else(|_| Err(FileError::Corrupt("its content is inconsistent".to_owned())))
    }
}

/// Renames a corrupt file, and says so in the log.
pub(super) fn set_aside(path: &Path, reason: &str) -> io::Result<()> {
    let aside = |ms: u64| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".corrupt-{ms}"));
        PathBuf::from(name)
    };
    // Never over a file that was set aside before.
    let name = (now_ms()..).map(aside).find(|name| !name.exists()).unwrap_or_else(|| aside(0));
    fs::rename(path, &name)?;
    tracing::error!(
        file = %path.display(),
        set_aside = %name.display(),
        reason,
        "the key-value store's file is corrupt or has another format: renamed it and created a new one"
    );
    Ok(())
}
