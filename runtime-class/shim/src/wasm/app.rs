//! Finds the WebAssembly component or application that a container runs: a file of its image, or an artifact.
//!
//! The image is untrusted: the shim opens files within the root file system only, and bounds what it reads.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, Read as _},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use sha2::{Digest as _, Sha256};
use wasi_http_host_manifest::{MAX_BYTES, Manifest};

use super::{artifact, cache::Entry, layout::ARTIFACT};
use crate::{
    error::{Context as _, Error, Result},
    node::Node,
    spec::Spec,
};

/// Bytes of a component. The largest known components have tens of megabytes.
const COMPONENT_MAX: u64 = 512 << 20;

/// What a WebAssembly container serves: a component, or an application with a `spin.toml`.
#[derive(Debug)]
pub(super) struct App {
    /// Path of the component or the `spin.toml` in the container.
    pub(super) path: String,
    /// The container's further arguments, which are flags of the host.
    pub(super) flags: Vec<String>,
    /// Path of the artifact's component on the node. It is mounted at `path`.
    pub(super) artifact: Option<PathBuf>,
    /// The artifact's component in the node's cache.
    pub(super) entry: Option<Entry>,
    /// The open component or `spin.toml`.
    pub(super) file: File,
}

/// Finds what `spec` serves. `None` for an ordinary container.
///
/// # Errors
/// `InvalidArgument` when the image names a component and has none. When a file of the image cannot be opened.
pub(super) async fn find(spec: &Spec, rootfs: &Path, id: &str, node: &Node) -> Result<Option<App>> {
    let args = spec.args();
    let Some((program, flags)) = args.split_first() else { return Ok(None) };
    let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    if is_app(program) {
        let path = Path::new("/").join(spec.cwd()).join(program).to_string_lossy().into_owned();
        match open_within(rootfs, &path) {
            Ok(file) => return Ok(Some(App { path, flags, artifact: None, entry: None, file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Io { context: format!("open {path} in the image"), source }),
        }
    } else if !is_empty(rootfs) {
        return Ok(None);
    }
    match artifact::fetch(node, id).await? {
        Some(entry) => {
            let artifact = entry.path.clone();
            let file = File::open(&artifact).context(|| artifact.display())?;
            let path = ARTIFACT.to_owned();
            Ok(Some(App { path, flags, artifact: Some(artifact), entry: Some(entry), file }))
        }
        None if is_app(program) => Err(Error::InvalidArgument(format!(
            "image {}: it has no file {program} and is no WebAssembly artifact: check the container's command",
            spec.image(),
        ))),
        None => Ok(None),
    }
}

impl App {
    /// Key of the compiled code in the cache, in hexadecimal. It changes with the host's file, and with the path and content
    /// of the component or of the `spin.toml` and its components. Reads all of them, so call it in a thread of its own.
    ///
    /// # Errors
    /// `InvalidArgument` when the `spin.toml` cannot be served. When a file cannot be read, or has more than 512 MiB.
    pub(super) fn cache_key(&self, rootfs: &Path, host: &Path) -> Result<String> {
        let sources = self.sources(rootfs)?;
        let sources = sources.iter().map(|(name, file)| (name, file));
        let metadata = fs::metadata(host).context(|| format!("the host {}", host.display()))?;
        let mut hash = Sha256::new();
        for number in [metadata.dev(), metadata.ino(), metadata.size()] {
            hash.update(number.to_le_bytes());
        }
        hash.update(metadata.mtime().to_le_bytes());
        hash.update(metadata.mtime_nsec().to_le_bytes());
        for (name, file) in std::iter::once((&self.path, &self.file)).chain(sources) {
            hash.update(name.as_bytes());
            hash.update([0]);
            hash.update(digest(file, COMPONENT_MAX).context(|| name)?);
        }
        Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }

    /// The components that the HTTP triggers of a `spin.toml` name, with their paths in the container. None for a component.
    ///
    /// The host's reader parses the manifest. It gets the text alone, because it would open a path outside `rootfs`.
    fn sources(&self, rootfs: &Path) -> Result<Vec<(String, File)>> {
        let path = &self.path;
        if path.ends_with(".wasm") {
            return Ok(Vec::new());
        }
        let mut text = String::new();
        (&self.file).take(MAX_BYTES + 1).read_to_string(&mut text).context(|| path)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(Error::InvalidArgument(format!("{path}: more than {MAX_BYTES} bytes")));
        }
        let manifest = Manifest::parse(&text, Path::new(path))
            .map_err(|error| Error::InvalidArgument(error.to_string()))?;
        // A set: several components may have the same source.
        let sources: BTreeSet<PathBuf> =
            manifest.components.into_iter().map(|component| component.source).collect();
        let sources = sources.into_iter().filter_map(|source| {
            let source = source.to_string_lossy().into_owned();
            // The compiler reports a missing file, together with other errors of the manifest.
            open_within(rootfs, &source).ok().map(|file| (source, file))
        });
        Ok(sources.collect())
    }
}

/// Whether a container's program is a file that the host serves.
pub(super) fn is_app(program: &str) -> bool {
    program.ends_with(".wasm") || Path::new(program).file_name().is_some_and(|name| name == "spin.toml")
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

/// Opens a regular file of the image. Symbolic links and `..` resolve within `rootfs` (`openat2(2)`, `RESOLVE_IN_ROOT`).
fn open_within(rootfs: &Path, path: &str) -> io::Result<File> {
    let directory =
        rustix::fs::open(rootfs, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // O_PATH: check the type of the file first, because opening a device can have an effect.
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let found =
        File::from(rustix::fs::openat2(directory, path, flags, Mode::empty(), ResolveFlags::IN_ROOT)?);
    if !found.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))
}

/// SHA-256 of a file's content. An error if the file has more than `limit` bytes.
fn digest(file: &File, limit: u64) -> io::Result<[u8; 32]> {
    use std::os::unix::fs::FileExt as _;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        if read == 0 {
            return Ok(hash.finalize().into());
        }
        hash.update(buffer.get(..read).unwrap_or_default());
        offset += read as u64;
        if offset > limit {
            return Err(io::Error::other(format!("more than {limit} bytes")));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn programs_that_the_host_serves() {
        for program in ["/gists.wasm", "app.wasm", "/spin.toml", "spin.toml", "/etc/app/spin.toml"] {
            assert!(is_app(program), "{program}");
        }
        for program in ["/bin/sh", "/pause", "wasm", "/spin.toml.sh", "/my-spin.toml"] {
            assert!(!is_app(program), "{program}");
        }
    }

    #[test]
    fn no_symbolic_link_leads_out_of_the_image() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = directory.path().join("rootfs");
        fs::create_dir(&rootfs).unwrap();
        fs::write(directory.path().join("secret.wasm"), "node").unwrap();
        symlink("../secret.wasm", rootfs.join("up.wasm")).unwrap();
        symlink(directory.path().join("secret.wasm"), rootfs.join("absolute.wasm")).unwrap();
        fs::write(rootfs.join("app.wasm"), "image").unwrap();
        symlink("/app.wasm", rootfs.join("link.wasm")).unwrap();
        for path in ["/up.wasm", "/absolute.wasm", "/../secret.wasm"] {
            assert_eq!(open_within(&rootfs, path).unwrap_err().kind(), io::ErrorKind::NotFound, "{path}");
        }
        let mut text = String::new();
        open_within(&rootfs, "/link.wasm").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "image");
        assert!(open_within(&rootfs, "/").is_err(), "a directory");
    }

    /// One component that an HTTP trigger names, and one that the host does not serve.
    const MANIFEST: &str = r#"
        spin_manifest_version = 2
        application = { name = "test" }
        [[trigger.http]]
        route = "/..."
        component = "a"
        [component.a]
        source = "a.wasm"
        [component.b]
        source = { url = "x" }
    "#;

    fn app(rootfs: &Path, path: &str) -> App {
        let file = open_within(rootfs, path).unwrap();
        App { path: path.to_owned(), flags: Vec::new(), artifact: None, entry: None, file }
    }

    fn key(rootfs: &Path, path: &str) -> String {
        app(rootfs, path).cache_key(rootfs, &rootfs.join("host")).unwrap()
    }

    #[test]
    fn the_cache_key_changes_with_the_files_and_the_host() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = directory.path();
        fs::write(rootfs.join("host"), "1").unwrap();
        fs::write(rootfs.join("spin.toml"), MANIFEST).unwrap();
        fs::write(rootfs.join("a.wasm"), "one").unwrap();
        let first = key(rootfs, "/spin.toml");
        assert_eq!(first, key(rootfs, "/spin.toml"));
        assert_ne!(first, key(rootfs, "/a.wasm"));
        fs::write(rootfs.join("a.wasm"), "two").unwrap();
        let second = key(rootfs, "/spin.toml");
        assert_ne!(first, second);
        fs::write(rootfs.join("host"), "another").unwrap();
        assert_ne!(second, key(rootfs, "/spin.toml"));
    }

    #[test]
    fn an_error_names_the_invalid_manifest() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("spin.toml"), "= no").unwrap();
        let error = app(directory.path(), "/spin.toml").sources(directory.path()).unwrap_err().to_string();
        assert!(error.starts_with("/spin.toml:1: "), "{error}");
    }

    #[test]
    fn a_manifest_that_is_too_long_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let length = usize::try_from(MAX_BYTES).unwrap() + 1;
        fs::write(directory.path().join("spin.toml"), "#".repeat(length)).unwrap();
        let error = app(directory.path(), "/spin.toml").sources(directory.path()).unwrap_err().to_string();
        assert_eq!(error, "/spin.toml: more than 1048576 bytes");
    }

    /// The manifest's sources are opened within the image, like the manifest itself.
    #[test]
    fn a_source_does_not_lead_out_of_the_image() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = directory.path().join("rootfs");
        fs::create_dir(&rootfs).unwrap();
        fs::write(directory.path().join("secret.wasm"), "node").unwrap();
        symlink("../secret.wasm", rootfs.join("a.wasm")).unwrap();
        let outside = MANIFEST.replace("a.wasm", directory.path().join("secret.wasm").to_str().unwrap());
        for manifest in [MANIFEST, &MANIFEST.replace("a.wasm", "../secret.wasm"), &outside] {
            fs::write(rootfs.join("spin.toml"), manifest).unwrap();
            assert!(app(&rootfs, "/spin.toml").sources(&rootfs).unwrap().is_empty(), "{manifest}");
        }
    }
}
