//! What all instances of a component use of the host's files and threads at the same time.

use std::{
    io,
    sync::{Arc, Mutex, Weak},
};

use rustix::{
    io::Errno,
    process::{Resource, getrlimit},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use wasi_http_host_core::lock;

/// The most uses of open files: open descriptors, streams that read a file, and calls on a file.
const MAX_USES: usize = 1024;
/// The most open listings of directories. Each has a file, and keeps one batch of entries.
const MAX_LISTINGS: usize = 128;
/// The most calls that a thread of the blocking pool executes or that wait for such a thread. Each runtime has 512 of
/// these threads.
const MAX_CALLS: usize = 128;

/// The files that the instances of one component have open, on all threads of the host.
pub struct OpenFiles {
    max_uses: usize,
    open: Mutex<Vec<Weak<dyn Send + Sync>>>,
    listings: Arc<Semaphore>,
    calls: Semaphore,
}

impl Default for OpenFiles {
    fn default() -> Self {
        Self {
            max_uses: max_uses(),
            open: Mutex::default(),
            listings: Arc::new(Semaphore::new(MAX_LISTINGS)),
            calls: Semaphore::new(MAX_CALLS),
        }
    }
}

/// The most files that the instances of a component open, besides the directories that are mounted.
#[must_use]
pub fn most_open_files() -> u64 {
    (max_uses() + MAX_LISTINGS) as u64
}

/// At most an eighth of the process's limit of open files, so that clients and outbound requests find the others.
fn max_uses() -> usize {
    let limit = getrlimit(Resource::Nofile).current.and_then(|limit| usize::try_from(limit).ok());
    limit.map_or(MAX_USES, |limit| MAX_USES.min(limit / 8))
}

impl OpenFiles {
    /// Counts an open file for as long as a descriptor, a stream or a call holds it.
    ///
    /// # Errors
    /// The component's files are used as often as they may be.
    pub(crate) fn add<T: Send + Sync + 'static>(&self, file: &Arc<T>) -> io::Result<()> {
        let mut open = lock(&self.open);
        check(&mut open, self.max_uses)?;
        let file: Weak<T> = Arc::downgrade(file);
        open.push(file);
        Ok(())
    }

    /// Checks that an open file may have another use.
    ///
    /// # Errors
    /// The component's files are used as often as they may be.
    pub(crate) fn check(&self) -> io::Result<()> {
        check(&mut lock(&self.open), self.max_uses)
    }

    /// Counts an open listing until the result is dropped.
    ///
    /// # Errors
    /// The component has as many listings as it may have.
    pub(crate) fn listing(&self) -> io::Result<OwnedSemaphorePermit> {
        self.listings.clone().try_acquire_owned().map_err(|_| Errno::NOMEM.into())
    }

    /// Waits until another call may begin. The call ends when the result is dropped.
    pub(crate) async fn call(&self) -> Option<SemaphorePermit<'_>> {
        // Nobody closes the semaphore.
        self.calls.acquire().await.ok()
    }
}

/// The error has a code in each version of WASI; that of `EMFILE` would be `io`.
fn check(open: &mut Vec<Weak<dyn Send + Sync>>, max_uses: usize) -> io::Result<()> {
    open.retain(|file| file.strong_count() > 0);
    let uses: usize = open.iter().map(Weak::strong_count).sum();
    if uses < max_uses { Ok(()) } else { Err(Errno::NOMEM.into()) }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_file_counts_for_each_use_and_not_after_the_last() {
        let files = OpenFiles { max_uses: 3, ..OpenFiles::default() };
        let first = Arc::new(());
        files.add(&first).unwrap();
        let streams = [first.clone(), first.clone()];
        assert_eq!(files.check().unwrap_err().raw_os_error(), Some(Errno::NOMEM.raw_os_error()));
        assert!(files.add(&Arc::new(())).is_err());
        drop(streams);
        let second = Arc::new(());
        files.add(&second).unwrap();
        files.check().unwrap();
        drop((first, second));
        assert!((0..100).all(|_| files.add(&Arc::new(())).is_ok()));
        assert!(lock(&files.open).len() <= 1);
    }

    #[test]
    fn calls_have_a_bound_and_others_wait() {
        let files = OpenFiles::default();
        let mut calls: Vec<_> = (0..MAX_CALLS).map(|_| files.call().now_or_never().unwrap()).collect();
        assert!(files.call().now_or_never().is_none());
        calls.pop();
        assert!(files.call().now_or_never().is_some());
    }

    #[test]
    fn listings_have_a_bound() {
        let files = OpenFiles::default();
        let listings: Vec<_> = (0..MAX_LISTINGS).map(|_| files.listing().unwrap()).collect();
        assert!(files.listing().is_err());
        drop(listings);
        assert!(files.listing().is_ok());
    }
}
