//! Compiled code, kept on the node for all containers.
//!
//! Each component has a directory of its own, named by what it was compiled from, and a container sees only its own:
//! a component that got the better of the compiler could spoil no other one's code. Directories are root's, and appear
//! complete or not at all.

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

use super::compile::USER;
use crate::error::{Context as _, Error, Result};

/// Components whose code is kept, and artifacts whose component is; those that were used least recently go first.
/// Containers that run lose nothing: what they have mounted stays.
const ENTRIES_MAX: usize = 64;
/// Where components of artifacts lie, in the same directory.
pub(super) const ARTIFACTS: &str = "artifacts";
/// For another shim to finish the same compilation.
const LOCK_LIMIT: Duration = Duration::from_secs(180);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// The directory of the code named `key`; `compile` fills a fresh one if there is none.
pub(super) async fn compiled(
    cache: &Path,
    key: &str,
    compile: impl AsyncFnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let directory = cache.join(key);
    if used(&directory) {
        return Ok(directory);
    }
    DirBuilder::new().recursive(true).mode(0o755).create(cache).context(|| cache.display())?;
    let lock_file = cache.join(format!("{key}.lock"));
    let lock = lock(&lock_file).await?;
    if !used(&directory) {
        let stage = cache.join(format!("{key}.new"));
        let filled = fill(&stage, &directory, compile).await;
        // What is left of a failure must not be in the way of another try.
        let _ = fs::remove_dir_all(&stage);
        filled?;
        prune(cache, &directory);
    }
    // Best effort, and still locked: who waits for it goes on to find the directory.
    let _ = fs::remove_file(&lock_file);
    drop(lock);
    Ok(directory)
}

/// Whether it is there; if so, it was used just now.
pub(super) fn used(path: &Path) -> bool {
    let now = SystemTime::now();
    File::open(path).is_ok_and(|open| {
        // Only the order of pruning depends on it.
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
            Err((_, Errno::EWOULDBLOCK)) if started.elapsed() < LOCK_LIMIT => sleep(LOCK_PAUSE).await,
            Err((_, error)) => return Err(Error::Other(format!("{}: {error}", path.display()))),
        }
    }
}

async fn fill(stage: &Path, directory: &Path, compile: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    match fs::remove_dir_all(stage) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).context(|| stage.display()),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(stage).context(|| stage.display())?;
    chown(stage, Some(USER), Some(USER)).context(|| stage.display())?;
    compile(stage).await?;
    chown(stage, Some(0), Some(0)).context(|| stage.display())?;
    let mut files = 0_usize;
    for entry in fs::read_dir(stage).context(|| stage.display())? {
        adopt(&entry.context(|| stage.display())?.path())?;
        files += 1;
    }
    if files == 0 {
        return Err(Error::Other("the host compiled the component and kept nothing".to_owned()));
    }
    fs::set_permissions(stage, Permissions::from_mode(0o755)).context(|| stage.display())?;
    fs::rename(stage, directory).context(|| directory.display())
}

/// Makes a file root's that the compiler's user wrote: a plain one only.
fn adopt(path: &Path) -> Result<()> {
    // Neither following a link nor waiting at a fifo.
    let flags = O_NOFOLLOW | O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).context(|| path.display())?;
    let metadata = file.metadata().context(|| path.display())?;
    if !metadata.is_file() || metadata.nlink() != 1 || metadata.uid() != USER {
        return Err(Error::Other(format!(
            "{}: the compiler left something that is no file of its own",
            path.display()
        )));
    }
    fchown(&file, Some(0), Some(0)).context(|| path.display())?;
    file.set_permissions(Permissions::from_mode(0o444)).context(|| path.display())
}

/// Removes what was used least recently beyond [`ENTRIES_MAX`]: directories of code, or files of components.
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
            log::warn!("{}: {error}", path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_and_what_is_wanted_stays() {
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
    fn a_look_makes_an_entry_young() {
        let directory = tempfile::tempdir().unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        File::open(directory.path()).unwrap().set_modified(old).unwrap();
        assert!(used(directory.path()));
        assert!(fs::metadata(directory.path()).unwrap().modified().unwrap() > old);
        assert!(!used(&directory.path().join("absent")));
    }
}
