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
    libc::O_NOFOLLOW,
};
use tokio::time::{Instant, sleep};

use super::compile::USER;
use crate::error::{Context as _, Error, Result};

/// Components whose code is kept; those that were used least recently go first. Containers that run lose nothing:
/// what they have mapped stays.
const COMPONENTS_MAX: usize = 64;
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
        prune(cache, key);
    }
    // Best effort, and still locked: who waits for it goes on to find the directory.
    let _ = fs::remove_file(&lock_file);
    drop(lock);
    Ok(directory)
}

/// Whether it is there; if so, it was used just now.
fn used(directory: &Path) -> bool {
    let now = SystemTime::now();
    File::open(directory).is_ok_and(|open| {
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
    let file =
        OpenOptions::new().read(true).custom_flags(O_NOFOLLOW).open(path).context(|| path.display())?;
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

/// Removes what was used least recently.
fn prune(cache: &Path, keep: &str) {
    let mut directories: Vec<(SystemTime, PathBuf)> = fs::read_dir(cache)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name() != keep && !entry.file_name().to_string_lossy().contains('.'))
        .filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(fs::Metadata::is_dir)?;
            Some((metadata.modified().ok()?, entry.path()))
        })
        .collect();
    directories.sort();
    let surplus = (directories.len() + 1).saturating_sub(COMPONENTS_MAX);
    for (_, directory) in directories.into_iter().take(surplus) {
        if let Err(error) = fs::remove_dir_all(&directory) {
            log::warn!("{}: {error}", directory.display());
        }
    }
}
