//! A cache of compiled code on disk, so that only a component's first start compiles.
//!
//! The file's name contains the hash of the component and the hash of everything that wasmtime's code depends on:
//! version, target and settings. After the code, the file has what an instance needs of the pool, so that a start
//! need not read the component for it, and a checksum of both. The host writes a file under a
//! temporary name and then renames it. If a name, a hash or a checksum does not match, the host compiles again. The
//! host trusts only files that nobody except its own user and root can write.

use std::{
    fs::{self, File, Metadata},
    hash::{Hash, Hasher},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};
use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use super::checksum;
use crate::needs::Needs;
use wasi_http_host_core::lock;

/// The last bytes of every file, after the checksum. A new layout needs a new mark.
const MARK: &[u8; 16] = b"wasi-http-host/5";
/// Bytes after the code and the needs.
const TRAILER: usize = checksum::BYTES + MARK.len();
/// The suffix of a temporary file that is still being written.
const UNFINISHED: &str = ".tmp";
/// No write takes this long. A temporary file that is older is left over from a crash.
const LEFT_OVER: Duration = Duration::from_secs(3600);
/// The most directory entries that are searched for left-over files.
const MAX_ENTRIES: usize = 4096;
/// Time between two log lines of a compilation that is still running.
const PROGRESS_EVERY: Duration = Duration::from_secs(2);

/// The temporary files that this process is writing.
static WRITING: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes the temporary files that this process is writing. No new file can be started until the result is dropped;
/// callers hold the result until the process ends.
pub fn abandon() -> MutexGuard<'static, Vec<PathBuf>> {
    let writing = lock(&WRITING);
    for unfinished in &*writing {
        // Best effort: a later start removes the file when it is old.
        let _ = fs::remove_file(unfinished);
    }
    writing
}

/// A directory of compiled components. Without a directory, every start compiles.
pub struct Cache {
    dir: Option<PathBuf>,
}

/// A component's code and its origin.
pub struct Compiled {
    /// The code, ready for linking.
    pub component: Component,
    /// What an instance needs of the pool.
    pub needs: Needs,
    /// Whether the code came from the cache rather than from a compilation.
    pub from_cache: bool,
    /// The file with the code. `None` if the code is in no file.
    pub file: Option<PathBuf>,
}

impl Cache {
    /// A cache that keeps nothing.
    pub fn none() -> Self {
        Self { dir: None }
    }

    /// A cache in `dir`. The first write creates the directory.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir: Some(dir) }
    }

    /// The user's cache directory, by the XDG specification
    /// (<https://specifications.freedesktop.org/basedir-spec/latest/>).
    pub fn default_dir(xdg_cache_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
        let base = xdg_cache_home
            .filter(|dir| dir.is_absolute())
            .or_else(|| home.filter(|dir| dir.is_absolute()).map(|home| home.join(".cache")))?;
        Some(base.join("wasi-http-host"))
    }

    /// Loads the component whose binary has the SHA-256 `digest`. If the cache does not have the component, this
    /// calls `make` for the code and the needs, and keeps the result.
    ///
    /// # Errors
    /// Only those of `make`. A cache that cannot be used causes a warning.
    pub fn load<E>(
        &self,
        engine: &Engine,
        digest: &[u8; 32],
        make: impl FnOnce() -> Result<(Component, Needs), E>,
    ) -> Result<Compiled, E> {
        let path = self.dir.as_ref().map(|dir| dir.join(file_name(engine, digest)));
        if let Some(path) = &path {
            match read(engine, path) {
                Ok(Some((component, needs))) => {
                    return Ok(Compiled { component, needs, from_cache: true, file: Some(path.clone()) });
                }
                Ok(None) => {}
                Err(reason) => {
                    tracing::warn!(path = %path.display(), reason, "compiled code cannot be used: compiling again");
                }
            }
        }
        let (component, needs) = make()?;
        let file = path.filter(|path| match write(path, &component, needs) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code cannot be cached: the next start compiles again");
                false
            }
        });
        Ok(Compiled { component, needs, from_cache: false, file })
    }
}

fn file_name(engine: &Engine, digest: &[u8; 32]) -> String {
    /// Collects the hashed bytes, because wasmtime exposes what its code depends on only as a `Hash`.
    struct Bytes(Sha256);
    impl Hasher for Bytes {
        fn finish(&self) -> u64 {
            0
        }
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
    }
    let mut environment = Bytes(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut environment);
    let mut name = hex(digest);
    name.push('-');
    name.extend(hex(&environment.0.finalize()).chars().take(16));
    name.push_str(".cwasm");
    name
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The component in the file, and what an instance needs. `None` if the file does not exist.
fn read(engine: &Engine, path: &Path) -> Result<Option<(Component, Needs)>, String> {
    let Some(file) = open(path)? else { return Ok(None) };
    let Some((length, needs)) = verify(&file).map_err(|error| error.to_string())? else {
        return Err("it is damaged".to_owned());
    };
    // Map the file that was verified, even if its name now leads to another file. Without /proc, read it.
    let verified = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    #[expect(unsafe_code, reason = "compiled code can only be loaded on trust")]
    // SAFETY: the file must hold what `Component::serialize` made, for as long as the file is mapped. Only this user
    // or root can have written the file and its directory, the name matches this component and this engine's
    // settings, and the checksum rules out truncation and decay. The host never writes into such a file: it renames a
    // complete file over it. wasmtime checks its version and settings too, and ignores the bytes after the code.
    // Mapping shares the code among processes (`docs/decisions/0017-compiled-code-is-mapped.md`).
    let component = unsafe {
        if verified.exists() {
            Component::deserialize_file(engine, verified)
        } else {
            let mut code = vec![0; usize::try_from(length).map_err(|error| error.to_string())?];
            file.read_exact_at(&mut code, 0).map_err(|error| error.to_string())?;
            Component::deserialize(engine, code)
        }
    };
    component.map(|component| Some((component, needs))).map_err(|error| format!("{error:#}"))
}

/// Opens a file of the cache, and checks by their descriptors that the file and its directory are trusted: a path may lead
/// to another file a moment later. `None` if the file does not exist.
fn open(path: &Path) -> Result<Option<File>, String> {
    // If the cache directory is another kind of file, the later write reports the error.
    let is_absent = |error: Errno| matches!(error, Errno::NOENT | Errno::NOTDIR);
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let dir = match rustix::fs::open(dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) {
        Ok(dir) => File::from(dir),
        Err(error) if is_absent(error) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    // NONBLOCK: do not wait at a pipe.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(&dir, name, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(error) if is_absent(error) => return Ok(None),
        Err(Errno::LOOP) => return Err("it is not a regular file".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let metadata = file.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    ours_alone(&metadata)?;
    ours_alone(&dir.metadata().map_err(|error| error.to_string())?)?;
    Ok(Some(file))
}

/// The bytes of code in the file, and the needs. `None` if the file's checksum or mark is not correct.
fn verify(mut file: &File) -> io::Result<Option<(u64, Needs)>> {
    let Some(code) = file.metadata()?.len().checked_sub((Needs::BYTES + TRAILER) as u64) else {
        return Ok(None);
    };
    let mut needs = [0; Needs::BYTES];
    file.read_exact_at(&mut needs, code)?;
    let checksum = checksum::of(file, code + Needs::BYTES as u64)?;
    let mut trailer = [0; TRAILER];
    file.read_exact(&mut trailer)?;
    let (stored, mark) = trailer.split_at(checksum::BYTES);
    Ok((checksum == stored && mark == MARK).then(|| (code, Needs::from_bytes(needs))))
}

/// Checks that this user or root owns the file, and that nobody else can write it.
fn ours_alone(metadata: &Metadata) -> Result<(), String> {
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != user {
        return Err(format!("it belongs to user {}, not to user {user} or root", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(format!("others may write it (mode {:o})", metadata.mode() & 0o7777));
    }
    Ok(())
}

/// Compiles `wasm`. Logs the start, the end with the duration, and a line every two seconds in between, so that a
/// long compilation does not look like a hang.
///
/// # Errors
/// The binary is not a valid component.
pub fn compile(engine: &Engine, name: &str, wasm: &[u8]) -> wasmtime::Result<Component> {
    let started = Instant::now();
    tracing::info!(component = name, bytes = wasm.len(), "compiling");
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    thread::scope(|scope| {
        let progress = move || {
            while waiting.recv_timeout(PROGRESS_EVERY) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                tracing::info!(component = name, seconds = started.elapsed().as_secs(), "still compiling");
            }
        };
        // If the thread cannot start, the compilation runs without progress lines.
        let _ = thread::Builder::new().name("compile-log".to_owned()).spawn_scoped(scope, progress);
        let component = Component::from_binary(engine, wasm);
        drop(done);
        if component.is_ok() {
            tracing::info!(component = name, duration_ms = started.elapsed().as_millis(), "compiled");
        }
        component
    })
}

/// Writes a temporary file beside `path` and renames it, so that a reader sees the complete file or none.
fn write(path: &Path, component: &Component, needs: Needs) -> io::Result<()> {
    let mut content = component.serialize().map_err(io::Error::other)?;
    content.extend_from_slice(&needs.to_bytes());
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    remove_left_over(dir);
    // Not the process's number: processes in different pods may have the same number.
    let temporary = path.with_extension(format!("{:032x}{UNFINISHED}", fastrand::u128(..)));
    let written = (|| {
        let mut file = begin(&temporary)?;
        file.write_all(&content)?;
        file.write_all(&checksum::of(&*content, content.len() as u64)?)?;
        file.write_all(MARK)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    let mut writing = lock(&WRITING);
    writing.retain(|unfinished| *unfinished != temporary);
    if written.is_err() {
        // Best effort: the function returns the error that matters.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Creates a file. The lock makes sure that [`abandon`] either sees the file or prevents its creation.
fn begin(path: &Path) -> io::Result<File> {
    let mut writing = lock(&WRITING);
    // The mode does not depend on the umask: the host would not trust a file that others can write.
    let file = File::options().write(true).create_new(true).mode(0o644).open(path)?;
    writing.push(path.to_owned());
    Ok(file)
}

/// Removes temporary files that crashed processes left, and no other files of the directory.
fn remove_left_over(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let now = SystemTime::now();
    for entry in entries.take(MAX_ENTRIES).flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(is_unfinished);
        let age = || now.duration_since(entry.metadata().ok()?.modified().ok()?).ok();
        if is_ours && age().is_some_and(|age| age > LEFT_OVER) {
            // Best effort: the next write tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether `name` is the temporary name of one of [`file_name`]'s files.
fn is_unfinished(name: &str) -> bool {
    let Some(name) = name.strip_suffix(UNFINISHED) else { return false };
    let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    name.split_once('.').is_some_and(|(name, _)| {
        name.split_once('-').is_some_and(|(binary, engine)| is_hex(binary, 64) && is_hex(engine, 16))
    })
}

#[cfg(test)]
mod tests {
    use std::{
        fs::Permissions,
        os::unix::{fs::PermissionsExt as _, net::UnixListener},
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// A directory with two files: one that only this user can write, and one that everybody can write.
    fn directory() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let [ours, foreign] = [("ours", 0o644), ("foreign", 0o666)].map(|(name, mode)| {
            let path = directory.path().join(name);
            fs::write(&path, name).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            path
        });
        (directory, ours, foreign)
    }

    /// Somebody exchanges the file again and again. Whatever the name leads to when the file is opened, only a file that was
    /// checked itself is returned.
    #[test]
    fn a_file_that_is_exchanged_meanwhile_is_checked_itself() {
        let (directory, ours, foreign) = directory();
        let path = directory.path().join("code");
        let [at_ours, at_foreign] = ["a", "b"].map(|name| directory.path().join(name));
        fs::hard_link(&ours, &path).unwrap();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    for (from, through) in [(&foreign, &at_foreign), (&ours, &at_ours)] {
                        fs::hard_link(from, through).unwrap();
                        fs::rename(through, &path).unwrap();
                        // Two names of the same file: the rename leaves both.
                        let _ = fs::remove_file(through);
                    }
                }
            });
            let mut seen = String::new();
            for _ in 0..20_000 {
                if let Ok(Some(mut file)) = open(&path) {
                    seen.clear();
                    file.read_to_string(&mut seen).unwrap();
                    if seen != "ours" {
                        break;
                    }
                }
            }
            // Before the assertion, which would wait for the other thread.
            done.store(true, Ordering::Relaxed);
            assert_eq!(seen, "ours");
        });
    }

    #[test]
    fn only_a_regular_file_of_a_trusted_directory_is_opened() {
        let (directory, ours, foreign) = directory();
        assert!(open(&ours).unwrap().is_some());
        assert!(open(&foreign).unwrap_err().contains("others may write it"));
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&ours, &link).unwrap();
        assert_eq!(open(&link).unwrap_err(), "it is not a regular file");
        assert!(open(&directory.path().join("absent")).unwrap().is_none());
        assert!(open(&ours.join("in a file")).unwrap().is_none());
        let socket = directory.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        assert!(open(&socket).is_err());
        fs::set_permissions(directory.path(), Permissions::from_mode(0o777)).unwrap();
        assert!(open(&ours).unwrap_err().contains("others may write it"));
    }
}
