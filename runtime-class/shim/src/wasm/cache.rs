//! The node's cache of compiled code.
//!
//! - Each app has a directory of its own. Its name is a hash of everything that the code depends on.
//! - A container sees only its own app's directory. A component that exploits the compiler therefore cannot change another
//!   app's code.
//! - A directory belongs to root. It appears complete, by renaming, or not at all.

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
use crate::error::{Context as _, Error, Result};

/// Entries that are kept: directories of code, and components of artifacts. The least recently used entry is removed first.
/// A running container keeps its code: a bind mount outlives the removal of its source.
const ENTRIES_MAX: usize = 64;
/// Name of the directory in the cache that holds the components of artifacts.
pub(super) const ARTIFACTS: &str = "artifacts";
/// Time for another shim to finish compiling the same app.
const LOCK_TIMEOUT: Duration = Duration::from_secs(180);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Returns the directory with the code of `key`. If there is none, `compile` fills an empty directory with the code. Only
/// one process of the node compiles the same key at a time; the others wait for its result.
///
/// # Errors
/// What `compile` returns; when a file cannot be created, or the lock is held for more than 180 s.
pub(super) async fn find_or_compile(
    cache: &Path,
    key: &str,
    compile: impl AsyncFnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let directory = cache.join(key);
    if touch(&directory) {
        return Ok(directory);
    }
    DirBuilder::new().recursive(true).mode(0o755).create(cache).context(|| cache.display())?;
    let lock_file = cache.join(format!("{key}.lock"));
    let lock = lock(&lock_file).await?;
    if !touch(&directory) {
        let staging = cache.join(format!("{key}.new"));
        let filled = fill(&staging, &directory, compile).await;
        // Best effort: the next compilation removes the directory too.
        let _ = fs::remove_dir_all(&staging);
        filled?;
        prune(cache, &directory);
    }
    // Best effort. Removed while locked: a process that waits for the lock then finds the directory.
    let _ = fs::remove_file(&lock_file);
    drop(lock);
    Ok(directory)
}

/// Whether the entry exists. If so, sets its modification time to now: [`prune`] removes the oldest entries.
pub(super) fn touch(path: &Path) -> bool {
    let now = SystemTime::now();
    File::open(path).is_ok_and(|open| {
        // Best effort: only the order of pruning depends on it.
        let _ = open.set_modified(now);
        true
    })
}

async fn lock(path: &Path) -> Result<Flock<File>> {
    let started = Instant::now();
    loop {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
        match Flock::lock(file.context(|| path.display())?, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, Errno::EWOULDBLOCK)) if started.elapsed() < LOCK_TIMEOUT => sleep(LOCK_PAUSE).await,
            Err((_, error)) => return Err(Error::Other(format!("lock {}: {error}", path.display()))),
        }
    }
}

async fn fill(
    staging: &Path,
    directory: &Path,
    compile: impl AsyncFnOnce(&Path) -> Result<()>,
) -> Result<()> {
    match fs::remove_dir_all(staging) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context(|| staging.display()),
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
    fs::set_permissions(staging, Permissions::from_mode(0o755)).context(|| staging.display())?;
    fs::rename(staging, directory).context(|| directory.display())
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

/// Removes the least recently used entries of `directory` beyond [`ENTRIES_MAX`]. `keep` is never removed, and only
/// entries of its kind are: directories of code, or files of components.
pub(super) fn prune(directory: &Path, keep: &Path) {
    let is_entry =
        |path: &Path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
    let mut entries: Vec<(SystemTime, PathBuf)> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path != keep && is_entry(path) && path.extension() == keep.extension())
        .filter(|path| path.is_dir() == keep.is_dir() && !path.ends_with(ARTIFACTS))
        .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    entries.sort();
    let surplus = (entries.len() + 1).saturating_sub(ENTRIES_MAX);
    for (_, path) in entries.into_iter().take(surplus) {
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed {
            log::warn!("remove {} from the cache: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pruning_removes_the_oldest_and_keeps_the_wanted_entry() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path(ARTIFACTS)).unwrap();
        fs::write(path("other.lock"), "").unwrap();
        for number in 0..ENTRIES_MAX + 10 {
            let entry = path(&format!("{number:03}"));
            fs::create_dir(&entry).unwrap();
            let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1000 + number as u64);
            File::open(&entry).unwrap().set_modified(at).unwrap();
        }
        prune(directory.path(), &path("000"));
        assert!(path("000").exists() && path(ARTIFACTS).exists() && path("other.lock").exists());
        assert!(!path("001").exists() && !path("010").exists());
        assert!(path("011").exists());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), ENTRIES_MAX + 2);
    }

    #[test]
    fn touching_makes_an_entry_the_newest() {
        let directory = tempfile::tempdir().unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        File::open(directory.path()).unwrap().set_modified(old).unwrap();
        assert!(touch(directory.path()));
        assert!(fs::metadata(directory.path()).unwrap().modified().unwrap() > old);
        assert!(!touch(&directory.path().join("absent")));
    }
}
