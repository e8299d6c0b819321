//! The entries of a directory, read in batches. wasmtime keeps all entries of a listing of `wasi:filesystem@0.2`. For
//! `0.3`, wasmtime's listing holds a thread until the guest has read the last entry.

use std::{fs::File, io, sync::Arc};

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat},
    io::Errno,
};
use tokio::{sync::OwnedSemaphorePermit, task::spawn_blocking};

use crate::open_files::OpenFiles;

/// The most entries that a listing keeps: 32 KiB of the longest names.
const BATCH: usize = 128;

/// An entry of a directory.
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: FileType,
}

type Batch = Vec<io::Result<Entry>>;
/// A listing. An error of the directory itself is the last entry.
pub(super) type Batches = BoxStream<'static, Batch>;

struct Listing {
    /// What the guest has opened.
    directory: Arc<File>,
    /// `None` before the first batch.
    entries: Option<Dir>,
    files: Arc<OpenFiles>,
    _counted: OwnedSemaphorePermit,
}

/// The entries of `directory`, without `.` and `..`. A blocking task reads each batch when it is polled for.
///
/// # Errors
/// The component has as many listings as it may have.
pub(super) fn batches(directory: Arc<File>, files: &Arc<OpenFiles>) -> io::Result<Batches> {
    let listing = Listing { directory, entries: None, _counted: files.listing()?, files: files.clone() };
    let batches = stream::unfold(Some(listing), |listing| async {
        let (batch, listing) = listing?.next().await;
        (!batch.is_empty()).then_some((batch, listing))
    });
    Ok(batches.fuse().boxed())
}

impl Listing {
    async fn next(self) -> (Batch, Option<Self>) {
        let files = self.files.clone();
        let _call = files.call().await;
        let read = spawn_blocking(move || self.read()).await.map_err(io::Error::other);
        read.flatten()
            .map_or_else(|error| (vec![Err(error)], None), |(batch, listing)| (batch, Some(listing)))
    }

    /// The next batch, which is empty at the end.
    fn read(mut self) -> io::Result<(Batch, Self)> {
        let mut entries = match self.entries.take() {
            Some(entries) => entries,
            // A file of its own, because each listing begins at the first entry.
            None => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                Dir::new(openat(&self.directory, ".", flags, Mode::empty())?)?
            }
        };
        let mut batch = Vec::new();
        while batch.len() < BATCH
            && let Some(entry) = entries.read()
        {
            match entry {
                Ok(entry) if matches!(entry.file_name().to_bytes(), b"." | b"..") => {}
                Ok(entry) => batch.push(self.entry(&entry)),
                Err(error) => batch.push(Err(error.into())),
            }
        }
        self.entries = Some(entries);
        Ok((batch, self))
    }

    fn entry(&self, entry: &rustix::fs::DirEntry) -> io::Result<Entry> {
        let kind = match entry.file_type() {
            // Some file systems do not tell.
            FileType::Unknown => {
                let stat = statat(&self.directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
                FileType::from_raw_mode(stat.st_mode)
            }
            kind => kind,
        };
        let name = entry.file_name().to_str().map_err(|_| Errno::ILSEQ)?;
        Ok(Entry { name: name.to_owned(), kind })
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, ffi::OsStr, fs, os::unix::ffi::OsStrExt as _};

    use super::*;

    fn listing(directory: &std::path::Path) -> Batches {
        batches(Arc::new(File::open(directory).unwrap()), &Arc::default()).unwrap()
    }

    #[tokio::test]
    async fn each_entry_comes_once_in_batches() {
        let directory = tempfile::tempdir().unwrap();
        let names: BTreeSet<_> = (0..BATCH * 2 + 1).map(|at| format!("file-{at}")).collect();
        names.iter().for_each(|name| fs::write(directory.path().join(name), "").unwrap());
        let batches: Vec<_> = listing(directory.path()).collect().await;
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [BATCH, BATCH, 1]);
        let entries: BTreeSet<_> = batches.into_iter().flatten().map(|entry| entry.unwrap().name).collect();
        assert_eq!(entries, names);
    }

    #[tokio::test]
    async fn an_entry_has_its_own_type_or_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("directory")).unwrap();
        fs::write(path("file"), "").unwrap();
        std::os::unix::fs::symlink("directory", path("link")).unwrap();
        fs::write(directory.path().join(OsStr::from_bytes(b"\xff")), "").unwrap();
        let [batch] = listing(directory.path()).collect::<Vec<_>>().await.try_into().ok().unwrap();
        let (mut seen, mut errors) = (Vec::new(), Vec::new());
        for entry in batch {
            match entry {
                Ok(entry) => seen.push((entry.name, entry.kind)),
                Err(error) => errors.push(error.raw_os_error()),
            }
        }
        seen.sort_by(|one, other| one.0.cmp(&other.0));
        let kinds: Vec<_> = seen.into_iter().map(|(_, kind)| kind).collect();
        assert_eq!(kinds, [FileType::Directory, FileType::RegularFile, FileType::Symlink]);
        assert_eq!(errors, [Some(Errno::ILSEQ.raw_os_error())]);
    }

    #[tokio::test]
    async fn an_error_of_the_directory_is_the_only_entry() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let batches: Vec<_> = listing(file.path()).collect().await;
        let errors: Vec<_> = batches.into_iter().flatten().map(|entry| entry.err().unwrap().kind()).collect();
        assert_eq!(errors, [io::ErrorKind::NotADirectory]);
    }
}
