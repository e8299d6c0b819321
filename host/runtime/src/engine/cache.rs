//! Compiled code on disk, so that only a component's first start pays for its compilation.
//!
//! A file is named by the hash of the component and the hash of all that wasmtime's code depends on (version,
//! target, settings), ends in a checksum of its own content, and is written under another name first. What does
//! not match in any of these is compiled again. Files are trusted only where nobody but us and root can write.

use std::{
    fs::{self, File},
    hash::{Hash, Hasher},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard},
    thread,
    time::{Duration, Instant, SystemTime},
};

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use super::checksum;
use wasi_http_host_core::lock;

/// Ends every file, after the checksum: another layout needs another mark.
const MARK: &[u8; 16] = b"wasi-http-host/3";
/// Ends the name of a file that is not whole yet.
const UNFINISHED: &str = ".tmp";
/// Nobody writes for as long: what is still unfinished then is left over from a crash.
const LEFT_OVER: Duration = Duration::from_secs(3600);
/// Most entries of the directory that are looked at for what is left over.
const MAX_ENTRIES: usize = 4096;
/// How often it is said that a compilation goes on.
const TELL_EVERY: Duration = Duration::from_secs(2);

/// The files that this process has not finished.
static WRITING: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Removes what this process has not finished writing. Nothing is begun until the result is dropped, which is meant to
/// be the process's end.
pub fn abandon() -> MutexGuard<'static, Vec<PathBuf>> {
    let writing = lock(&WRITING);
    for unfinished in &*writing {
        // Best effort: what stays is removed when it is old.
        let _ = fs::remove_file(unfinished);
    }
    writing
}

/// A directory of compiled components; or none, where every start compiles.
pub struct Cache {
    dir: Option<PathBuf>,
}

/// A component's code, and where it is from.
pub struct Compiled {
    /// The code, ready to be linked.
    pub component: Component,
    /// Not compiled just now.
    pub from_cache: bool,
    /// The file that holds it, if any does.
    pub file: Option<PathBuf>,
}

impl Cache {
    /// Keeps nothing.
    pub fn none() -> Self {
        Self { dir: None }
    }

    /// Keeps files in `dir`, which is made on the first write.
    pub fn at(dir: PathBuf) -> Self {
        Self { dir: Some(dir) }
    }

    /// The user's cache directory, after the XDG specification.
    pub fn default_dir(xdg_cache_home: Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
        let base = xdg_cache_home
            .filter(|dir| dir.is_absolute())
            .or_else(|| home.filter(|dir| dir.is_absolute()).map(|home| home.join(".cache")))?;
        Some(base.join("wasi-http-host"))
    }

    /// The component whose binary has this SHA-256, from the cache, or as `make` makes it, and then kept.
    ///
    /// # Errors
    /// As `make`. A cache that cannot be used is only a warning.
    pub fn load<E>(
        &self,
        engine: &Engine,
        digest: &[u8; 32],
        make: impl FnOnce() -> Result<Component, E>,
    ) -> Result<Compiled, E> {
        let path = self.dir.as_ref().map(|dir| dir.join(file_name(engine, digest)));
        if let Some(path) = &path {
            match read(engine, path) {
                Ok(Some(component)) => {
                    return Ok(Compiled { component, from_cache: true, file: Some(path.clone()) });
                }
                Ok(None) => {}
                Err(reason) => {
                    tracing::warn!(path = %path.display(), reason, "compiled code not used, compiling again");
                }
            }
        }
        let component = make()?;
        let file = path.filter(|path| match write(path, &component) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code not kept: the next start compiles again");
                false
            }
        });
        Ok(Compiled { component, from_cache: false, file })
    }
}

fn file_name(engine: &Engine, digest: &[u8; 32]) -> String {
    /// wasmtime offers what its code depends on as a `Hash` only: collect the bytes.
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

/// The component in the file; `None` when there is no file.
fn read(engine: &Engine, path: &Path) -> Result<Option<Component>, String> {
    match fs::symlink_metadata(path) {
        // That the directory is none is told when the file cannot be written.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(error.to_string()),
        Ok(metadata) if !metadata.is_file() => return Err("it is no regular file".to_owned()),
        Ok(metadata) => ours_alone(&metadata)?,
    }
    if let Some(dir) = path.parent() {
        ours_alone(&fs::metadata(dir).map_err(|error| error.to_string())?)?;
    }
    let file = File::open(path).map_err(|error| error.to_string())?;
    if !is_whole(&file).map_err(|error| error.to_string())? {
        return Err("it is damaged".to_owned());
    }
    // The file that was verified, whatever the name leads to by now; where there is no /proc, the name.
    let verified = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let mapped = if verified.exists() { &verified } else { path };
    #[expect(unsafe_code, reason = "compiled code can only be loaded on trust")]
    // SAFETY: the file must hold what `Component::serialize` made, for as long as it is mapped. It lies in a directory
    // and a file that only this user or root could have written, under the name of this very component and of this
    // engine's settings, and carries a checksum of itself, which rules out truncated and decayed files. This program
    // never writes into such a file: it renames a whole one over it. wasmtime checks its own version and settings
    // besides, and does not mind what follows the code. It is mapped rather than read so that all processes of a node
    // that run the component share its memory.
    let component = unsafe { Component::deserialize_file(engine, mapped) };
    component.map(Some).map_err(|error| format!("{error:#}"))
}

/// Whether the file's checksum and mark are right.
fn is_whole(mut file: &File) -> io::Result<bool> {
    const TRAILER: usize = checksum::BYTES + MARK.len();
    let Some(length) = file.metadata()?.len().checked_sub(TRAILER as u64) else { return Ok(false) };
    let checksum = checksum::of(file, length)?;
    let mut trailer = [0; TRAILER];
    file.read_exact(&mut trailer)?;
    let (told, mark) = trailer.split_at(checksum::BYTES);
    Ok(checksum == told && mark == MARK)
}

/// Owned by this user or root, and writable by nobody else.
fn ours_alone(metadata: &fs::Metadata) -> Result<(), String> {
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != user {
        return Err(format!("it belongs to user {}, not to user {user} or root", metadata.uid()));
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(format!("others may write it (mode {:o})", metadata.mode() & 0o7777));
    }
    Ok(())
}

/// Compiles `wasm`. Says that it begins, now and then that it goes on, and how long it took: nobody is to take it for a hang.
///
/// # Errors
/// When it is no valid component.
pub fn compile(engine: &Engine, name: &str, wasm: &[u8]) -> wasmtime::Result<Component> {
    let started = Instant::now();
    tracing::info!(component = name, bytes = wasm.len(), "compiling");
    let (done, waiting) = std::sync::mpsc::channel::<()>();
    thread::scope(|scope| {
        let telling = move || {
            while waiting.recv_timeout(TELL_EVERY) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                tracing::info!(component = name, seconds = started.elapsed().as_secs(), "still compiling");
            }
        };
        // Without a thread nobody tells, which is no reason not to compile.
        let _ = thread::Builder::new().name("telling".to_owned()).spawn_scoped(scope, telling);
        let component = Component::from_binary(engine, wasm);
        drop(done);
        if component.is_ok() {
            tracing::info!(component = name, duration_ms = started.elapsed().as_millis(), "compiled");
        }
        component
    })
}

/// Writes beside `path` and renames, so that a reader sees the whole file or none.
fn write(path: &Path, component: &Component) -> io::Result<()> {
    let code = component.serialize().map_err(io::Error::other)?;
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    remove_left_over(dir);
    // Not by the process's number, which each has in common with those of other pods.
    let temporary = path.with_extension(format!("{:032x}{UNFINISHED}", fastrand::u128(..)));
    let written = (|| {
        let mut file = begin(&temporary)?;
        file.write_all(&code)?;
        file.write_all(&checksum::of(&*code, code.len() as u64)?)?;
        file.write_all(MARK)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    })();
    let mut writing = lock(&WRITING);
    writing.retain(|unfinished| *unfinished != temporary);
    if written.is_err() {
        // Best effort: the error that counts is the one that is returned.
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// A new file, which is either seen by [`abandon`] or not made.
fn begin(path: &Path) -> io::Result<File> {
    let mut writing = lock(&WRITING);
    // Whatever the umask: one that others could write would not be trusted.
    let file = File::options().write(true).create_new(true).mode(0o644).open(path)?;
    writing.push(path.to_owned());
    Ok(file)
}

/// Removes what crashed processes have not finished. Of other files in the directory, nothing.
fn remove_left_over(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let now = SystemTime::now();
    for entry in entries.take(MAX_ENTRIES).flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(is_unfinished);
        let age = || now.duration_since(entry.metadata().ok()?.modified().ok()?).ok();
        if is_ours && age().is_some_and(|age| age > LEFT_OVER) {
            // Best effort: the next to write tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Whether a file of this name is one of [`file_name`]'s that was not finished.
fn is_unfinished(name: &str) -> bool {
    let Some(name) = name.strip_suffix(UNFINISHED) else { return false };
    let is_hex = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
    name.split_once('.').is_some_and(|(name, _)| {
        name.split_once('-').is_some_and(|(binary, engine)| is_hex(binary, 64) && is_hex(engine, 16))
    })
}
