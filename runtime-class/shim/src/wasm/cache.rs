//! The node's cache of compiled code.
//!
//! - Each component has a directory of its own, with one file. The names of both begin with the component's digest, which
//!   the shim computes.
//! - A container sees the code of its own components only. A component that exploits the compiler therefore cannot change
//!   the code of another component.
//! - An app of several components has a directory too, with hard links to the components' files.
//! - A directory belongs to root. It appears complete, by renaming, or not at all.
//! - The cache has a bound in bytes and in entries. The least recently used entry is removed first.
//! - An entry that a container is being created from is in use ([`Entry`]), and is not removed.
//! - What is locked is a file that root alone can open. An entry is visible in containers, and whoever can open a file can
//!   lock it.
//! - A component that could not be compiled is not compiled again for some time, whatever starts it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::ErrorKind,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, chown, fchown},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    libc::{O_NOFOLLOW, O_NONBLOCK},
};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};
use wasi_http_host_manifest::MAX_COMPONENTS;

use super::layout::COMPILER_USERS;
use crate::{
    error::{Context as _, Error, Result},
    node::{CACHE_MAX_BYTES, Cache},
};

/// Entries of each kind that are kept: directories of code, and components of artifacts. One application has at most
/// `MAX_COMPONENTS` and one directory for all of them, and must not take the places of others. The bound in bytes is usually met
/// first.
const ENTRIES_MAX: usize = 16 * (MAX_COMPONENTS + 1);
/// Name of the directory in the cache that holds the components of artifacts.
const ARTIFACTS: &str = "artifacts";
/// Extension of an artifact's component.
const COMPONENT: &str = "wasm";
/// Time for another shim to finish compiling the same app.
const LOCK_TIMEOUT: Duration = Duration::from_secs(180);
const LOCK_PAUSE: Duration = Duration::from_millis(20);
/// Age of a temporary file whose writer must have ended: a fetch takes at most 60 s, and a compilation 120 s after two waits
/// of at most 180 s each.
const ABANDONED_AFTER: Duration = Duration::from_secs(15 * 60);
/// Extension of the files with the reason why a component could not be compiled.
const FAILED: &str = "failed";
/// Time for which such a component is not compiled again.
const FAILED_FOR: Duration = Duration::from_secs(10 * 60);
/// Failures that are remembered.
const FAILURES_MAX: usize = 256;
/// Extensions of temporary files and directories.
const TEMPORARY: [&str; 4] = ["new", "log", "lock", FAILED];
/// What the names of the files begin with that are locked while entries are in use.
const IN_USE: &str = ".use-";

/// An entry that is in use: no shim removes it before this value is dropped.
///
/// Dropped when `runc` has mounted the entry. A running container keeps its code: the kernel keeps the mapped files.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) path: PathBuf,
    _lock: Flock<File>,
}

/// What the code depends on beside the component: the host's file, which has the compiler. In hexadecimal.
///
/// # Errors
/// When the host's file cannot be read.
pub(super) fn host_version(host: &Path) -> Result<String> {
    let metadata = fs::metadata(host).context(|| format!("the host {}", host.display()))?;
    let mut hash = Sha256::new();
    for number in [metadata.dev(), metadata.ino(), metadata.size()] {
        hash.update(number.to_le_bytes());
    }
    hash.update(metadata.mtime().to_le_bytes());
    hash.update(metadata.mtime_nsec().to_le_bytes());
    Ok(hex(hash).chars().take(16).collect())
}

/// A place among the compilations of the node. It is free again when the value is dropped, or its process ends.
pub(super) struct Slot {
    /// The number of the place.
    pub(super) number: usize,
    /// The user and the group of the compiler.
    pub(super) user: u32,
    _lock: Flock<File>,
}

/// Waits for a place among the compilations of the node.
///
/// # Errors
/// When the other compilations take longer than `limit`.
async fn slot(cache: &Path, limit: Duration) -> Result<Slot> {
    let started = Instant::now();
    loop {
        for (number, user) in COMPILER_USERS.into_iter().enumerate() {
            // Hidden, so that no shim sweeps it.
            let path = cache.join(format!(".compiler-{number}"));
            if let Some(lock) = try_lock(&path, FlockArg::LockExclusiveNonblock)? {
                return Ok(Slot { number, user, _lock: lock });
            }
        }
        if started.elapsed() >= limit {
            return Err(Error::Other(format!(
                "{} other components of this node are being compiled, and took longer than {} s: try again",
                COMPILER_USERS.len(),
                limit.as_secs()
            )));
        }
        sleep(LOCK_PAUSE).await;
    }
}

impl Cache {
    /// The directory with the components of artifacts.
    pub(super) fn artifacts(&self) -> PathBuf {
        self.directory.join(ARTIFACTS)
    }

    /// Creates the cache's directories, which root alone can enter. A container and a compiler get what they need mounted.
    ///
    /// # Errors
    /// When a directory cannot be created or changed.
    pub(super) fn create(&self) -> Result<()> {
        let (cache, artifacts) = (&self.directory, self.artifacts());
        DirBuilder::new().recursive(true).mode(0o700).create(&artifacts).context(|| artifacts.display())?;
        fs::set_permissions(cache, Permissions::from_mode(0o700)).context(|| cache.display())
    }

    /// Returns the code of the component with this digest. If there is none, `compile` fills an empty directory with the code.
    /// The directory belongs to the user of the slot.
    ///
    /// # Errors
    /// As [`Self::find_or_make`]. When `compile` leaves anything but one file for this component. `InvalidArgument` of `compile`,
    /// and the same again for 10 minutes.
    pub(super) async fn find_or_compile(
        &self,
        digest: &str,
        host: &str,
        compile: impl AsyncFnOnce(&Path, &Slot) -> Result<()>,
    ) -> Result<Entry> {
        let key = format!("{digest}-{host}");
        let failed = self.directory.join(&key).with_extension(FAILED);
        let fill = async |staging: &Path| {
            recall(&failed)?;
            let slot = slot(&self.directory, LOCK_TIMEOUT).await?;
            fill(staging, digest, &slot, compile).await.inspect_err(|error| self.remember(&failed, error))
        };
        self.find_or_make(&key, fill).await
    }

    /// Remembers in the file `failed` that a component cannot be compiled. Best effort.
    fn remember(&self, failed: &Path, error: &Error) {
        let Error::InvalidArgument(reason) = error else { return };
        let others = entries(&self.directory).filter(|path| path.extension() == failed.extension());
        if others.count() < FAILURES_MAX {
            let _ = fs::write(failed, reason);
        }
    }

    /// Returns an entry with the files of all these entries, as hard links. A single entry is returned as it is.
    ///
    /// # Errors
    /// As [`Self::find_or_make`].
    pub(super) async fn gather(&self, mut entries: Vec<Entry>) -> Result<Entry> {
        // Components with the same content have the same directory.
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        if entries.len() == 1
            && let Some(only) = entries.pop()
        {
            return Ok(only);
        }
        let mut hash = Sha256::new();
        for entry in &entries {
            hash.update(entry.path.as_os_str().as_bytes());
            hash.update([0]);
        }
        let link = async |staging: &Path| {
            DirBuilder::new().mode(0o755).create(staging).context(|| staging.display())?;
            for Entry { path, .. } in &entries {
                for file in fs::read_dir(path).context(|| path.display())? {
                    let file = file.context(|| path.display())?;
                    let (code, name) = (file.path(), file.file_name());
                    fs::hard_link(&code, staging.join(name)).context(|| code.display())?;
                }
            }
            Ok::<(), Error>(())
        };
        self.find_or_make(&hex(hash), link).await
    }

    /// Returns the entry `key`. If there is none, `make` makes it under another name. Only one process of the node makes the
    /// same entry at a time; the others wait for its result.
    ///
    /// # Errors
    /// What `make` returns; when a file cannot be created, the lock is held for more than 180 s, or the entry has more bytes
    /// than the cache may have.
    async fn find_or_make(&self, key: &str, make: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<Entry> {
        self.create()?;
        let cache = &self.directory;
        let directory = cache.join(key);
        if let Some(entry) = self.use_entry(&directory).await? {
            return Ok(entry);
        }
        let lock_file = cache.join(format!("{key}.lock"));
        let lock = lock(&lock_file, FlockArg::LockExclusiveNonblock).await?;
        let entry = match self.use_entry(&directory).await {
            Ok(Some(entry)) => Ok(entry),
            Err(error) => Err(error),
            Ok(None) => {
                let staging = cache.join(format!("{key}.new"));
                let made = self.replace(&staging, &directory, make).await;
                // Best effort: the next attempt removes the directory too.
                let _ = fs::remove_dir_all(&staging);
                self.prune();
                made
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
        self.sweep_locks();
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
            if (*count > ENTRIES_MAX || bytes > self.max_bytes) && self.remove_unused(&path) {
                *count -= 1;
                bytes = bytes.saturating_sub(size);
            }
        }
    }

    /// Makes a directory under the name `staging`, and gives it its own name when it is complete.
    async fn replace(
        &self,
        staging: &Path,
        directory: &Path,
        make: impl AsyncFnOnce(&Path) -> Result<()>,
    ) -> Result<Entry> {
        match fs::remove_dir_all(staging) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).context(|| staging.display());
            }
            _ => {}
        }
        make(staging).await?;
        let bytes = size(staging);
        if bytes > self.max_bytes {
            return Err(Error::Other(format!(
                "the compiled code has {bytes} bytes, and the node's cache may have {} ({CACHE_MAX_BYTES})",
                self.max_bytes
            )));
        }
        // Locked before its new name: no other shim removes the entry in between.
        let lock = lock(&self.lock_file(directory), FlockArg::LockSharedNonblock).await?;
        fs::rename(staging, directory).context(|| directory.display())?;
        Ok(Entry { path: directory.to_owned(), _lock: lock })
    }

    /// The entry at `path`, as the most recently used. `None` if there is none.
    ///
    /// # Errors
    /// When another process holds the lock for more than 180 s.
    pub(super) async fn use_entry(&self, path: &Path) -> Result<Option<Entry>> {
        if !path.exists() {
            return Ok(None);
        }
        let lock = lock(&self.lock_file(path), FlockArg::LockSharedNonblock).await?;
        // The entry may have been removed before the lock was there.
        let Ok(file) = File::open(path) else { return Ok(None) };
        // Best effort: only the order of removal depends on it.
        let _ = file.set_modified(SystemTime::now());
        Ok(Some(Entry { path: path.to_owned(), _lock: lock }))
    }

    /// Removes an entry unless it is in use, and returns whether it is gone.
    fn remove_unused(&self, path: &Path) -> bool {
        let lock_file = self.lock_file(path);
        let Ok(Some(_lock)) = try_lock(&lock_file, FlockArg::LockExclusiveNonblock) else { return false };
        let gone = remove(path);
        if gone {
            // Best effort. Removed while locked: whoever waits for the lock sees that its file is gone.
            let _ = fs::remove_file(&lock_file);
        }
        gone
    }

    /// The file that is locked while the entry at `path` is in use. It is hidden, so that it counts as no entry.
    fn lock_file(&self, path: &Path) -> PathBuf {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.directory.join(format!("{IN_USE}{name}"))
    }

    /// Removes the locks of entries that do not exist. Few are left: by a killed shim, or in a race for an entry.
    fn sweep_locks(&self) {
        for file in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            let name = file.file_name();
            let Some(entry) = name.to_str().and_then(|name| name.strip_prefix(IN_USE)) else { continue };
            let entry = self.directory.join(entry);
            if !entry.exists() && !self.artifacts().join(entry.file_name().unwrap_or_default()).exists() {
                self.remove_unused(&entry);
            }
        }
    }
}

/// The reason why a component could not be compiled, if the file `failed` has one that still counts, as an error.
fn recall(failed: &Path) -> Result<()> {
    let modified = fs::metadata(failed).and_then(|metadata| metadata.modified()).ok();
    let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
    let Some(age) = age.filter(|age| *age < FAILED_FOR) else { return Ok(()) };
    match fs::read_to_string(failed) {
        Ok(reason) => Err(Error::InvalidArgument(format!(
            "{reason} (tried {} s ago on this node, which tries again after {} s)",
            age.as_secs(),
            FAILED_FOR.as_secs()
        ))),
        // Another shim has swept the file.
        Err(_) => Ok(()),
    }
}

/// Whether `path` is the name of the open `file`.
fn is_named(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(named)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (open.dev(), open.ino()) == (named.dev(), named.ino())
}

/// Locks the file at `path`, which is created if need be. Waits for other processes.
///
/// # Errors
/// When another process holds the lock for more than 180 s.
async fn lock(path: &Path, mode: FlockArg) -> Result<Flock<File>> {
    let started = Instant::now();
    loop {
        match try_lock(path, mode)? {
            Some(lock) => return Ok(lock),
            None if started.elapsed() < LOCK_TIMEOUT => sleep(LOCK_PAUSE).await,
            None => {
                let seconds = LOCK_TIMEOUT.as_secs();
                return Err(Error::Other(format!("lock {}: held for {seconds} s", path.display())));
            }
        }
    }
}

/// `None` if another process holds the lock, or has just removed its file.
fn try_lock(path: &Path, mode: FlockArg) -> Result<Option<Flock<File>>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    match Flock::lock(file.context(|| path.display())?, mode) {
        // Otherwise its holder has removed it since, and it excludes nobody.
        Ok(lock) => Ok(is_named(&lock, path).then_some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, error)) => Err(Error::Other(format!("lock {}: {error}", path.display()))),
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

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn fill(
    staging: &Path,
    digest: &str,
    slot: &Slot,
    compile: impl AsyncFnOnce(&Path, &Slot) -> Result<()>,
) -> Result<()> {
    DirBuilder::new().mode(0o700).create(staging).context(|| staging.display())?;
    chown(staging, Some(slot.user), Some(slot.user)).context(|| staging.display())?;
    compile(staging, slot).await?;
    chown(staging, Some(0), Some(0)).context(|| staging.display())?;
    let mut files = Vec::new();
    // Two are enough to see that there is more than one.
    for entry in fs::read_dir(staging).context(|| staging.display())?.take(2) {
        files.push(entry.context(|| staging.display())?.path());
    }
    let [file] = files.as_slice() else {
        return Err(Error::Other(format!(
            "{}: expected one file of compiled code, found {}",
            staging.display(),
            if files.is_empty() { "none" } else { "several" }
        )));
    };
    if !is_code_of(file, digest) {
        return Err(Error::Other(format!("{}: not the code of the component {digest}", file.display())));
    }
    give_to_root(file, slot.user)?;
    fs::set_permissions(staging, Permissions::from_mode(0o755)).context(|| staging.display())
}

/// Whether a file's name is the one under which the host looks for the code of the component. The host finds code by this
/// name alone, so a compiler that a component exploits must not choose it.
fn is_code_of(file: &Path, digest: &str) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let rest = name.strip_prefix(digest).and_then(|rest| rest.strip_prefix('-'));
    rest.and_then(|rest| rest.strip_suffix(".cwasm"))
        .is_some_and(|hash| !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Makes root the owner of a file that the compiler with this user wrote. Refuses links, devices and other users' files.
fn give_to_root(path: &Path, user: u32) -> Result<()> {
    // O_NOFOLLOW: do not follow a link. O_NONBLOCK: do not wait at a fifo.
    let flags = O_NOFOLLOW | O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).context(|| path.display())?;
    let metadata = file.metadata().context(|| path.display())?;
    if !metadata.is_file() || metadata.nlink() != 1 || metadata.uid() != user {
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
            test.add(&format!("{number:04}"), 1, 1000 + number as u64);
            test.add(&format!("artifacts/{number:04}.wasm"), 1, 1000 + number as u64);
        }
        test.cache.prune();
        for name in ["0009", "artifacts/0009.wasm"] {
            assert!(!test.path(name).exists(), "{name}");
        }
        for name in ["0010", "artifacts/0010.wasm", "other.lock"] {
            assert!(test.path(name).exists(), "{name}");
        }
        assert_eq!(fs::read_dir(&test.cache.directory).unwrap().count(), ENTRIES_MAX + 2);
    }

    /// An application of as many components as the host serves, and the directory for all of them.
    #[test]
    fn one_application_does_not_take_the_places_of_others() {
        let test = TestCache::new(u64::MAX);
        let other = test.add("other", 1, 1);
        for number in 0..=MAX_COMPONENTS {
            test.add(&format!("{number:04}"), 1, 1000 + number as u64);
        }
        test.cache.prune();
        assert!(other.exists());
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
        let entry = test.cache.use_entry(&used).await.unwrap().unwrap();
        test.cache.prune();
        assert!(used.exists() && !other.exists());
        drop(entry);
        test.cache.prune();
        assert!(!used.exists());
        assert!(test.cache.use_entry(&used).await.unwrap().is_none());
        assert_eq!(fs::read_dir(&test.cache.directory).unwrap().count(), 1, "no lock is left");
    }

    /// Every container sees its own entries, and whoever can open a file can lock it.
    #[tokio::test]
    async fn a_lock_on_an_entry_itself_has_no_effect() {
        let test = TestCache::new(1);
        test.cache.create().unwrap();
        let entry = test.add("entry", 9, 1);
        let shared = Flock::lock(File::open(&entry).unwrap(), FlockArg::LockShared).unwrap();
        test.cache.prune();
        assert!(!entry.exists(), "kept by a lock that anybody may have");
        drop(shared);

        let entry = test.add("entry", 9, 1);
        let _exclusive = Flock::lock(File::open(&entry).unwrap(), FlockArg::LockExclusive).unwrap();
        let used = tokio::time::timeout(Duration::from_secs(60), test.cache.use_entry(&entry)).await;
        let used =
            used.expect("a container's start waits for a lock that anybody may have").unwrap().unwrap();
        let lock = test.cache.lock_file(&used.path);
        for (path, mode) in [(&test.cache.directory, 0o700), (&lock, 0o600)] {
            let found = fs::metadata(path).unwrap().mode() & 0o777;
            assert_eq!(found, mode, "{}", path.display());
        }
    }

    #[tokio::test]
    async fn use_makes_an_entry_the_newest() {
        let test = TestCache::new(15);
        let (first, second) = (test.add("first", 9, 1), test.add("second", 9, 2));
        drop(test.cache.use_entry(&first).await.unwrap());
        test.cache.prune();
        assert!(first.exists() && !second.exists());
    }

    const DIGEST: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";

    /// Has a compiler leave these files, of this many bytes.
    async fn compiled(test: &TestCache, files: &[&str], bytes: u64) -> Result<Entry> {
        test.cache
            .find_or_compile(DIGEST, "host", async |staging, slot| {
                for name in files {
                    let file = File::create(staging.join(name)).unwrap();
                    file.set_len(bytes).unwrap();
                    fchown(&file, Some(slot.user), Some(slot.user)).unwrap();
                }
                Ok(())
            })
            .await
    }

    fn own_file() -> String {
        format!("{DIGEST}-0123456789abcdef.cwasm")
    }

    #[tokio::test]
    async fn code_over_the_bound_is_refused() {
        if !nix::unistd::geteuid().is_root() {
            println!("NOT RUN: only root can give a directory to the compiler's user");
            return;
        }
        let test = TestCache::new(10);
        let own = own_file();
        let error = compiled(&test, &[&own], 11).await.unwrap_err().to_string();
        assert!(error.contains("11 bytes") && error.contains(CACHE_MAX_BYTES), "{error}");
        let visible = fs::read_dir(&test.cache.directory).unwrap().flatten();
        let visible = visible.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
        assert_eq!(visible.count(), 1, "only the directory of artifacts");
        let entry = compiled(&test, &[&own], 10).await.unwrap();
        assert!(entry.path.ends_with(format!("{DIGEST}-host")) && entry.path.join(&own).exists());
    }

    #[tokio::test]
    async fn a_compiler_leaves_the_code_of_its_own_component_only() {
        if !nix::unistd::geteuid().is_root() {
            println!("NOT RUN: only root can give a directory to the compiler's user");
            return;
        }
        let test = TestCache::new(u64::MAX);
        let own = own_file();
        let other = own.replacen('7', "8", 1);
        for (files, error) in [
            (&[own.as_str(), &other][..], "expected one file of compiled code, found several"),
            (&[], "expected one file of compiled code, found none"),
            (&[&other], "not the code of the component 7692"),
            (&[".code"], "not the code of the component 7692"),
        ] {
            let found = compiled(&test, files, 1).await.unwrap_err().to_string();
            assert!(found.contains(error), "{files:?}: {found}");
        }
    }

    /// A container whose component cannot be compiled starts again and again.
    #[tokio::test]
    async fn a_component_that_cannot_be_compiled_is_not_tried_again_at_once() {
        if !nix::unistd::geteuid().is_root() {
            println!("NOT RUN: only root can give a directory to the compiler's user");
            return;
        }
        let test = TestCache::new(u64::MAX);
        let tries = std::cell::Cell::new(0);
        let attempt = async |error: fn(String) -> Error| {
            let compile = async |_: &Path, _: &Slot| {
                tries.set(tries.get() + 1);
                Err(error("no".to_owned()))
            };
            test.cache.find_or_compile(DIGEST, "host", compile).await.unwrap_err().to_string()
        };
        assert_eq!((attempt(Error::Other).await, attempt(Error::Other).await), ("no".into(), "no".into()));
        assert_eq!((attempt(Error::InvalidArgument).await.as_str(), tries.get()), ("no", 3));
        let again = attempt(Error::InvalidArgument).await;
        assert!(again.starts_with("no (tried ") && again.ends_with("tries again after 600 s)"), "{again}");
        assert_eq!(tries.get(), 3, "compiled again");

        let failed = test.path(&format!("{DIGEST}-host.failed"));
        File::open(&failed).unwrap().set_modified(SystemTime::now() - FAILED_FOR).unwrap();
        assert_eq!((attempt(Error::InvalidArgument).await.as_str(), tries.get()), ("no", 4));
    }

    #[test]
    fn failures_that_are_remembered_have_a_bound() {
        let test = TestCache::new(u64::MAX);
        for number in 0..=FAILURES_MAX {
            test.cache.remember(
                &test.path(&format!("{number:04}.failed")),
                &Error::InvalidArgument("no".to_owned()),
            );
        }
        assert_eq!(entries(&test.cache.directory).count(), FAILURES_MAX + 1, "with the artifacts");
    }

    #[tokio::test]
    async fn compilations_of_a_node_are_bounded_and_each_has_a_user_of_its_own() {
        let cache = tempfile::tempdir().unwrap();
        let mut slots = Vec::new();
        for user in COMPILER_USERS {
            slots.push(slot(cache.path(), Duration::ZERO).await.unwrap());
            assert_eq!(slots.last().unwrap().user, user);
        }
        let error = slot(cache.path(), Duration::ZERO).await.err().unwrap().to_string();
        assert!(error.starts_with("4 other components of this node are being compiled"), "{error}");
        let freed = slots.remove(1).user;
        assert_eq!(slot(cache.path(), Duration::ZERO).await.unwrap().user, freed);
    }

    #[tokio::test]
    async fn several_components_have_a_directory_with_links_to_their_files() {
        let test = TestCache::new(u64::MAX);
        let [a, b] = ["a", "b"].map(|name| test.add(name, 1, 1));
        fs::rename(a.join("code"), a.join("other")).unwrap();
        let entry = async |path: &Path| test.cache.use_entry(path).await.unwrap().unwrap();
        assert_eq!(test.cache.gather(vec![entry(&a).await]).await.unwrap().path, a);
        let twice = vec![entry(&b).await, entry(&a).await, entry(&b).await];
        let both = test.cache.gather(twice).await.unwrap();
        let again = test.cache.gather(vec![entry(&a).await, entry(&b).await]).await.unwrap();
        assert_eq!(both.path, again.path);
        let link = fs::metadata(both.path.join("other")).unwrap();
        assert_eq!(link.ino(), fs::metadata(a.join("other")).unwrap().ino());
        assert_eq!(fs::read_dir(&both.path).unwrap().count(), 2);
    }

    #[test]
    fn the_version_changes_with_the_hosts_file() {
        let directory = tempfile::tempdir().unwrap();
        let host = directory.path().join("host");
        fs::write(&host, "1").unwrap();
        let first = host_version(&host).unwrap();
        assert_eq!(first, host_version(&host).unwrap());
        fs::write(&host, "another").unwrap();
        assert_ne!(first, host_version(&host).unwrap());
    }

    /// Shims and fetches that were killed leave temporary files. Those of running ones stay.
    #[test]
    fn abandoned_files_are_swept() {
        let test = TestCache::new(u64::MAX);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let old = now - ABANDONED_AFTER.as_secs() - 60;
        let names = ["a.new", "a.log", "a.lock", "a.failed", ".use-a.gone", "artifacts/7-0.new"];
        let abandoned: Vec<PathBuf> = names.iter().map(|name| test.add(name, 9, old)).collect();
        let kept: Vec<PathBuf> = ["b.new", "b.log", "b.lock", "b.failed", ".use-c.wasm", "artifacts/8-0.new"]
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
