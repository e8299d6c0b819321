//! The node's cache of compiled code.
//!
//! - Each app has a directory of its own. Its name is a hash of everything that the code depends on.
//! - A container sees only its own app's directory. A component that exploits the compiler therefore cannot change another
//!   app's code.
//! - A directory belongs to root. It appears complete, by renaming, or not at all.
//! - The cache has a bound in bytes and in entries. The least recently used entry is removed first.
//! - An entry that a container is being created from is locked ([`Entry`]), and is not removed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::ErrorKind,
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, fchown,
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc::{O_NOFOLLOW, O_NONBLOCK},
};
use tokio::time::{Instant, sleep};

use super::layout::COMPILER_USER;
use crate::{
    error::{Context as _, Error, Result},
    node::{CACHE_MAX_BYTES, Cache},
};

/// Entries of each kind that are kept: directories of code, and components of artifacts.
const ENTRIES_MAX: usize = 64;
/// Name of the directory in the cache that holds the components of artifacts.
const ARTIFACTS: &str = "artifacts";
/// Extension of an artifact's component.
const COMPONENT: &str = "wasm";
/// Time for another shim to finish compiling the same app.
const LOCK_TIMEOUT: Duration = Duration::from_secs(180);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Age of a temporary file whose writer must have ended: a fetch takes at most 60 s, and a compilation 120 s after a wait of
/// at most 180 s.
const ABANDONED_AFTER: Duration = Duration::from_secs(15 * 60);
/// Extensions of temporary files and directories.
const TEMPORARY: [&str; 3] = ["new", "log", "lock"];

/// An entry that is in use: no shim removes it before this value is dropped.
///
/// Dropped when `runc` has mounted the entry. A running container keeps its code: the kernel keeps the mapped files.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) path: PathBuf,
    _lock: Flock<File>,
}

impl Cache {
    /// The directory with the components of artifacts.
    pub(super) fn artifacts(&self) -> PathBuf {
        self.directory.join(ARTIFACTS)
    }

    /// Returns the code of `key`. If there is none, `compile` fills an empty directory with the code. Only one process of the
    /// node compiles the same key at a time; the others wait for its result.
    ///
    /// # Errors
    /// What `compile` returns; when a file cannot be created, the lock is held for more than 180 s, or the code has more
    /// bytes than the cache may have.
    pub(super) async fn find_or_compile(
        &self,
        key: &str,
        compile: impl AsyncFnOnce(&Path) -> Result<()>,
    ) -> Result<Entry> {
        let cache = &self.directory;
        let directory = cache.join(key);
        if let Some(entry) = use_entry(&directory).await? {
            return Ok(entry);
        }
        DirBuilder::new().recursive(true).mode(0o755).create(cache).context(|| cache.display())?;
        let lock_file = cache.join(format!("{key}.lock"));
        let lock = lock(&lock_file).await?;
        let entry = match use_entry(&directory).await {
            Ok(Some(entry)) => Ok(entry),
            Err(error) => Err(error),
            Ok(None) => {
                let staging = cache.join(format!("{key}.new"));
                let filled = self.fill(&staging, &directory, compile).await;
                // Best effort: the next compilation removes the directory too.
                let _ = fs::remove_dir_all(&staging);
                self.prune();
                filled
            }
        };
        // Best effort. Removed while locked: whoever waits for the lock sees that its file is gone.
        let _ = fs::remove_file(&lock_file);
        drop(lock);
        entry
    }

    /// Removes what killed shims have left, and what exceeds the bound. Called at each shim's start.
    pub(crate) fn sweep(&self) {
        let now = SystemTime::now();
        for directory in [&self.directory, &self.artifacts()] {
            for path in entries(directory) {
                let is_temporary = path
                    .extension()
                    .is_some_and(|extension| TEMPORARY.iter().any(|known| extension == *known));
                let modified = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified()).ok();
                let age = modified.and_then(|modified| now.duration_since(modified).ok());
                if is_temporary && age.is_some_and(|age| age > ABANDONED_AFTER) {
                    remove(&path);
                }
            }
        }
        self.prune();
    }

    /// Removes the least recently used entries until the cache is within its bounds. Keeps entries that are in use.
    pub(super) fn prune(&self) {
        let artifacts = self.artifacts();
        let code = entries(&self.directory).filter(|path| path.extension().is_none() && *path != artifacts);
        let components = entries(&artifacts)
            .filter(|path| path.extension().is_some_and(|extension| extension == COMPONENT));
        let mut counts = [0_usize; 2];
        let mut bytes = 0_u64;
        let mut found = Vec::new();
        for (kind, path) in code.map(|path| (0, path)).chain(components.map(|path| (1, path))) {
            let Ok(modified) = fs::symlink_metadata(&path).and_then(|metadata| metadata.modified()) else {
                continue;
            };
            let size = size(&path);
            bytes = bytes.saturating_add(size);
            if let Some(count) = counts.get_mut(kind) {
                *count += 1;
            }
            found.push((modified, kind, size, path));
        }
        found.sort();
        for (_, kind, size, path) in found {
            let Some(count) = counts.get_mut(kind) else { continue };
            if (*count > ENTRIES_MAX || bytes > self.max_bytes) && remove_unused(&path) {
                *count -= 1;
                bytes = bytes.saturating_sub(size);
            }
        }
    }

    async fn fill(
        &self,
        staging: &Path,
        directory: &Path,
        compile: impl AsyncFnOnce(&Path) -> Result<()>,
    ) -> Result<Entry> {
        match fs::remove_dir_all(staging) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context(|| staging.display());
            }
            _ => {}
        }
        DirBuilder::new().mode(0o700).create(staging).context(|| staging.display())?;
        chown(staging, Some(COMPILER_USER), Some(COMPILER_USER)).context(|| staging.display())?;
        compile(staging).await?;
        chown(staging, Some(0), Some(0)).context(|| staging.display())?;
        let mut files = 0_usize;
        for entry in fs::read_dir(staging).context(|| staging.display())? {
            give_to_root(&entry.context(|| staging.display())?.path())?;
            files += 1;
        }
        if files == 0 {
            return Err(Error::Other(format!("{}: the host compiled no code into it", staging.display())));
        }
        let bytes = size(staging);
        if bytes > self.max_bytes {
            return Err(Error::Other(format!(
                "the compiled code has {bytes} bytes, and the node's cache may have {} ({CACHE_MAX_BYTES})",
                self.max_bytes
            )));
        }
        fs::set_permissions(staging, Permissions::from_mode(0o755)).context(|| staging.display())?;
        // Locked before its new name: no other shim removes the entry in between.
        let lock = File::open(staging).context(|| staging.display())?;
        let lock = Flock::lock(lock, FlockArg::LockSharedNonblock)
            .map_err(|(_, error)| Error::Other(format!("lock {}: {error}", staging.display())))?;
        fs::rename(staging, directory).context(|| directory.display())?;
        Ok(Entry { path: directory.to_owned(), _lock: lock })
    }
}

/// The entry at `path`, as the most recently used. `None` if there is none.
///
/// # Errors
/// When another process holds the lock for more than 180 s.
pub(super) async fn use_entry(path: &Path) -> Result<Option<Entry>> {
    let Ok(file) = File::open(path) else { return Ok(None) };
    // Best effort: only the order of removal depends on it.
    let _ = file.set_modified(SystemTime::now());
    let lock = flock(file, FlockArg::LockSharedNonblock, path).await?;
    // The entry may have been removed before it was locked.
    Ok(is_named(&lock, path).then(|| Entry { path: path.to_owned(), _lock: lock }))
}

/// Whether `path` is the name of the open `file`.
fn is_named(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

async fn lock(path: &Path) -> Result<Flock<File>> {
    let started = Instant::now();
    loop {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        match Flock::lock(file.context(|| path.display())?, FlockArg::LockExclusiveNonblock) {
            // Otherwise its holder has removed it since, and it excludes nobody.
            Ok(lock) if is_named(&lock, path) => return Ok(lock),
            Ok(_) => {}
            Err((_, Errno::EWOULDBLOCK)) if started.elapsed() < LOCK_TIMEOUT => sleep(LOCK_PAUSE).await,
            Err((_, error)) => return Err(Error::Other(format!("lock {}: {error}", path.display()))),
        }
    }
}

/// Locks `file`, whose path is `path`. Waits for other processes.
async fn flock(mut file: File, mode: FlockArg, path: &Path) -> Result<Flock<File>> {
    let started = Instant::now();
    loop {
        match Flock::lock(file, mode) {
            Ok(lock) => return Ok(lock),
            Err((open, Errno::EWOULDBLOCK)) if started.elapsed() < LOCK_TIMEOUT => file = open,
            Err((_, error)) => return Err(Error::Other(format!("lock {}: {error}", path.display()))),
        }
        sleep(LOCK_PAUSE).await;
    }
}

/// The paths in a directory. Hidden files are left out.
fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).map(|entry| entry.path())
}

/// Bytes of a file, or of all files in a directory. A directory of code has no directories.
fn size(path: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(path) else { return 0 };
    if !metadata.is_dir() {
        return metadata.len();
    }
    let files = fs::read_dir(path).into_iter().flatten().flatten();
    files.map(|file| file.metadata().map_or(0, |metadata| metadata.len())).sum()
}

/// Removes an entry unless it is in use, and returns whether it is gone.
fn remove_unused(path: &Path) -> bool {
    match File::open(path).map(|file| Flock::lock(file, FlockArg::LockExclusiveNonblock)) {
        // Otherwise another shim has removed it since, and the path may be a new entry's.
        Ok(Ok(lock)) => is_named(&lock, path) && remove(path),
        Ok(Err(_)) => false,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Removes a file or a directory, and returns whether it is gone. Follows no link.
fn remove(path: &Path) -> bool {
    let is_directory = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    match if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) } {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::NotFound => true,
        Err(error) => {
            log::warn!("remove {} from the cache: {error}", path.display());
            false
        }
    }
}

/// Makes root the owner of a file that the compiler wrote. Refuses links, devices and other users' files.
fn give_to_root(path: &Path) -> Result<()> {
    // O_NOFOLLOW: do not follow a link. O_NONBLOCK: do not wait at a fifo.
    let flags = O_NOFOLLOW | O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).context(|| path.display())?;
    let metadata = file.metadata().context(|| path.display())?;
    if !metadata.is_file() || metadata.nlink() != 1 || metadata.uid() != COMPILER_USER {
        return Err(Error::Other(format!("{}: not a regular file of the compiler's user", path.display())));
    }
    fchown(&file, Some(0), Some(0)).context(|| path.display())?;
    file.set_permissions(Permissions::from_mode(0o444)).context(|| path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    struct TestCache {
        cache: Cache,
        _directory: tempfile::TempDir,
    }

    impl TestCache {
        fn new(max_bytes: u64) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let cache = Cache { directory: directory.path().join("cache"), max_bytes };
            fs::create_dir_all(cache.artifacts()).unwrap();
            Self { cache, _directory: directory }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.cache.directory.join(name)
        }

        /// Creates a file or a directory of code with `bytes` bytes that was used at `at`, in seconds.
        fn add(&self, name: &str, bytes: u64, at: u64) -> PathBuf {
            let path = self.path(name);
            let file = if path.extension().is_some_and(|extension| extension != "new") {
                path.clone()
            } else {
                fs::create_dir(&path).unwrap();
                path.join("code")
            };
            File::create(file).unwrap().set_len(bytes).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
            File::open(&path).unwrap().set_modified(at).unwrap();
            path
        }
    }

    #[test]
    fn entries_are_bounded_by_number() {
        let test = TestCache::new(u64::MAX);
        fs::write(test.path("other.lock"), "").unwrap();
        for number in 0..ENTRIES_MAX + 10 {
            test.add(&format!("{number:03}"), 1, 1000 + number as u64);
            test.add(&format!("artifacts/{number:03}.wasm"), 1, 1000 + number as u64);
        }
        test.cache.prune();
        for name in ["009", "artifacts/009.wasm"] {
            assert!(!test.path(name).exists(), "{name}");
        }
        for name in ["010", "artifacts/010.wasm", "other.lock"] {
            assert!(test.path(name).exists(), "{name}");
        }
        assert_eq!(fs::read_dir(&test.cache.directory).unwrap().count(), ENTRIES_MAX + 2);
    }

    /// Code and components share one bound: the oldest of both goes first.
    #[test]
    fn entries_are_bounded_by_bytes() {
        let test = TestCache::new(10 * MIB);
        for (name, bytes, at) in [
            ("old", 4 * MIB, 1),
            ("artifacts/old.wasm", 4 * MIB, 2),
            ("new", 4 * MIB, 3),
            ("artifacts/new.wasm", 4 * MIB, 4),
        ] {
            test.add(name, bytes, at);
        }
        test.cache.prune();
        assert!(!test.path("old").exists() && !test.path("artifacts/old.wasm").exists());
        assert!(test.path("new").exists() && test.path("artifacts/new.wasm").exists());
    }

    /// Another container's start must find what it is about to mount.
    #[tokio::test]
    async fn an_entry_in_use_is_kept() {
        let test = TestCache::new(1);
        let (used, other) = (test.add("used", 9, 1), test.add("artifacts/other.wasm", 9, 2));
        let entry = use_entry(&used).await.unwrap().unwrap();
        test.cache.prune();
        assert!(used.exists() && !other.exists());
        drop(entry);
        test.cache.prune();
        assert!(!used.exists());
        assert!(use_entry(&used).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn use_makes_an_entry_the_newest() {
        let test = TestCache::new(15);
        let (first, second) = (test.add("first", 9, 1), test.add("second", 9, 2));
        drop(use_entry(&first).await.unwrap());
        test.cache.prune();
        assert!(first.exists() && !second.exists());
    }

    #[tokio::test]
    async fn code_over_the_bound_is_refused() {
        if !nix::unistd::geteuid().is_root() {
            println!("NOT RUN: only root can give a directory to the compiler's user");
            return;
        }
        let test = TestCache::new(10);
        let compile = |bytes: u64| {
            async move |directory: &Path| {
                // A hidden file counts, too.
                let file = File::create(directory.join(".code")).unwrap();
                file.set_len(bytes).unwrap();
                fchown(&file, Some(COMPILER_USER), Some(COMPILER_USER)).unwrap();
                Ok(())
            }
        };
        let error = test.cache.find_or_compile("a", compile(11)).await.unwrap_err().to_string();
        assert!(error.contains("11 bytes") && error.contains(CACHE_MAX_BYTES), "{error}");
        assert_eq!(
            fs::read_dir(&test.cache.directory).unwrap().count(),
            1,
            "only the directory of artifacts"
        );
        let entry = test.cache.find_or_compile("a", compile(10)).await.unwrap();
        assert!(entry.path.join(".code").exists());
    }

    /// Shims and fetches that were killed leave temporary files. Those of running ones stay.
    #[test]
    fn abandoned_files_are_swept() {
        let test = TestCache::new(u64::MAX);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let old = now - ABANDONED_AFTER.as_secs() - 60;
        let names = ["a.new", "a.log", "a.lock", "artifacts/7-0.new"];
        let abandoned: Vec<PathBuf> = names.iter().map(|name| test.add(name, 9, old)).collect();
        let kept: Vec<PathBuf> = ["b.new", "b.log", "b.lock", "artifacts/8-0.new"]
            .iter()
            .map(|name| test.add(name, 9, now - 60))
            .chain(["c", "artifacts/c.wasm"].iter().map(|name| test.add(name, 9, old)))
            .collect();
        test.cache.sweep();
        for path in abandoned {
            assert!(!path.exists(), "{}", path.display());
        }
        for path in kept {
            assert!(path.exists(), "{}", path.display());
        }
    }
}
