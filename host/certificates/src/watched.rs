//! The value of files, which is replaced when the files change.

use std::{
    fmt::Display,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use sha2::{Digest as _, Sha256};
use wasi_http_host_core::lock;

/// Interval at which the caller should check the files. Times and inodes are not compared: a mounted Secret is replaced
/// by changing links, and some file systems store times only to the second.
pub const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// Files that make one value together.
pub trait Source {
    /// The contents of the files, not parsed.
    type Contents;
    /// The value.
    type Value: std::fmt::Debug;
    /// The reason why there is no value. The text names the file, and has nothing of a key's contents.
    type Error: Display;

    /// Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read.
    fn read(&self) -> Result<Self::Contents, Self::Error>;

    /// Returns the contents of each file, to compare two readings.
    fn files(contents: &Self::Contents) -> Vec<&[u8]>;

    /// Parses the contents.
    ///
    /// # Errors
    /// When the contents are not valid.
    fn parse(&self, contents: &Self::Contents) -> Result<Self::Value, Self::Error>;
}

/// The value of files, and the results of past checks.
#[derive(Debug)]
pub struct Watched<S: Source> {
    source: S,
    current: RwLock<Arc<S::Value>>,
    seen: Mutex<Seen>,
}

/// The result of a check of the files.
#[derive(Debug)]
pub enum Change<T> {
    /// Nothing has changed, or the files are as wrong as at the last check.
    None,
    /// The value is replaced. This is the new value.
    Replaced(Arc<T>),
    /// The files are wrong in a way that the last check did not find. The previous value stays. This is the reason.
    Failed(String),
}

/// The SHA-256 digest of all files.
type Digest = [u8; 32];

#[derive(Debug)]
struct Seen {
    in_use: Digest,
    /// The last failure: the digest of the contents if they could be read, and the error message.
    failure: Option<(Option<Digest>, String)>,
}

impl<S: Source> Watched<S> {
    /// Reads and parses the files.
    ///
    /// # Errors
    /// When the files cannot be read or parsed.
    pub fn load(source: S) -> Result<Self, S::Error> {
        let contents = source.read()?;
        let value = source.parse(&contents)?;
        let seen = Seen { in_use: digest::<S>(&contents), failure: None };
        Ok(Self { source, current: RwLock::new(Arc::new(value)), seen: Mutex::new(seen) })
    }

    /// Returns where the value comes from.
    pub fn source(&self) -> &S {
        &self.source
    }

    /// Returns the value in use.
    pub fn current(&self) -> Arc<S::Value> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the files, and replaces the value if the contents are new and valid. Returns each failure once. Blocks on
    /// the file system.
    pub fn check(&self) -> Change<S::Value> {
        let mut seen = lock(&self.seen);
        let contents = match self.source.read() {
            Ok(contents) => contents,
            Err(error) => return seen.fail(None, error.to_string()),
        };
        let digest = digest::<S>(&contents);
        if digest == seen.in_use {
            seen.failure = None;
            return Change::None;
        }
        if seen.failure.as_ref().is_some_and(|(failed, _)| *failed == Some(digest)) {
            return Change::None;
        }
        match self.source.parse(&contents) {
            Ok(value) => {
                let value = Arc::new(value);
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = value.clone();
                *seen = Seen { in_use: digest, failure: None };
                Change::Replaced(value)
            }
            Err(error) => seen.fail(Some(digest), error.to_string()),
        }
    }
}

impl Seen {
    fn fail<T>(&mut self, digest: Option<Digest>, message: String) -> Change<T> {
        let failure = Some((digest, message.clone()));
        if self.failure == failure {
            return Change::None;
        }
        self.failure = failure;
        Change::Failed(message)
    }
}

fn digest<S: Source>(contents: &S::Contents) -> Digest {
    let mut hash = Sha256::new();
    for file in S::files(contents) {
        hash.update((file.len() as u64).to_be_bytes());
        hash.update(file);
    }
    hash.finalize().into()
}
