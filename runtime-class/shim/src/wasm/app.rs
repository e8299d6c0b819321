//! Finds the WebAssembly component or application that a container runs: a file of its image, or an artifact.
//!
//! The image is untrusted: the shim opens files within the root file system only, and bounds what it reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _},
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{artifact, layout::ARTIFACT};
use crate::{
    error::{Context as _, Error, Result},
    node::Node,
    spec::Spec,
};

/// Bytes of a component. The largest known components have tens of megabytes.
const COMPONENT_MAX: u64 = 512 << 20;
/// Components of a `spin.toml`.
const SOURCES_MAX: usize = 64;
/// Bytes of a `spin.toml`.
const MANIFEST_MAX: u64 = 1 << 20;

/// What a WebAssembly container serves: a component, or an application with a `spin.toml`.
#[derive(Debug)]
pub(super) struct App {
    /// Path of the component or the `spin.toml` in the container.
    pub(super) path: String,
    /// The container's further arguments, which are flags of the host.
    pub(super) flags: Vec<String>,
    /// Path of the artifact's component on the node. It is mounted at `path`.
    pub(super) artifact: Option<PathBuf>,
    /// The open files that the compiled code depends on, with their paths in the container.
    pub(super) files: Vec<(String, File)>,
}

/// Finds what `spec` serves. `None` for an ordinary container.
///
/// # Errors
/// `InvalidArgument` when the image names a component and has none, or its `spin.toml` is invalid. When a file of the
/// image cannot be read.
pub(super) async fn find(spec: &Spec, rootfs: &Path, id: &str, node: &Node) -> Result<Option<App>> {
    let args = spec.args();
    let Some((program, flags)) = args.split_first() else { return Ok(None) };
    let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
    if is_app(program) {
        let path = Path::new("/").join(spec.cwd()).join(program).to_string_lossy().into_owned();
        match open_within(rootfs, &path) {
            Ok(file) => {
                let files = files(rootfs, &path, file)?;
                return Ok(Some(App { path, flags, artifact: None, files }));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Io { context: format!("open {path} in the image"), source }),
        }
    } else if !is_empty(rootfs) {
        return Ok(None);
    }
    match artifact::fetch(node, id).await? {
        Some(file) => {
            let open = File::open(&file).context(|| file.display())?;
            let files = vec![(ARTIFACT.to_owned(), open)];
            Ok(Some(App { path: ARTIFACT.to_owned(), flags, artifact: Some(file), files }))
        }
        None if is_app(program) => Err(Error::InvalidArgument(format!(
            "image {}: it has no file {program} and is no WebAssembly artifact: check the container's command",
            spec.annotation("io.kubernetes.cri.image-name").unwrap_or("of this container"),
        ))),
        None => Ok(None),
    }
}

impl App {
    /// Key of the compiled code in the cache, in hexadecimal. It changes with the host's file and with the path and
    /// content of each of [`Self::files`].
    ///
    /// # Errors
    /// When a file cannot be read, or has more than 512 MiB.
    pub(super) fn cache_key(&self, host: &Path) -> Result<String> {
        let metadata = fs::metadata(host).context(|| format!("the host {}", host.display()))?;
        let mut hash = Sha256::new();
        for number in [metadata.dev(), metadata.ino(), metadata.size()] {
            hash.update(number.to_le_bytes());
        }
        hash.update(metadata.mtime().to_le_bytes());
        hash.update(metadata.mtime_nsec().to_le_bytes());
        for (name, file) in &self.files {
            hash.update(name.as_bytes());
            hash.update([0]);
            hash.update(digest(file, COMPONENT_MAX).context(|| name)?);
        }
        Ok(hash.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// Whether a container's program is a file that the host serves.
fn is_app(program: &str) -> bool {
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

/// The files that the code of `path` depends on: `file` itself, and for a `spin.toml` the components that it names.
fn files(rootfs: &Path, path: &str, mut file: File) -> Result<Vec<(String, File)>> {
    #[derive(Deserialize)]
    struct Manifest {
        #[serde(default)]
        component: BTreeMap<String, Component>,
    }
    #[derive(Deserialize)]
    struct Component {
        source: Option<toml::Value>,
    }
    if path.ends_with(".wasm") {
        return Ok(vec![(path.to_owned(), file)]);
    }
    let mut text = String::new();
    file.by_ref().take(MANIFEST_MAX).read_to_string(&mut text).context(|| path)?;
    let manifest: Manifest =
        toml::from_str(&text).map_err(|error| Error::InvalidArgument(format!("{path}: {error}")))?;
    let directory = Path::new(path).parent().unwrap_or(Path::new("/"));
    let sources = manifest.component.into_values().filter_map(|component| component.source);
    // A set: several components may have the same source.
    let sources: BTreeSet<PathBuf> =
        sources.filter_map(|source| Some(directory.join(source.as_str()?))).collect();
    if sources.len() > SOURCES_MAX {
        return Err(Error::InvalidArgument(format!("{path}: more than {SOURCES_MAX} components")));
    }
    let mut files = vec![(path.to_owned(), file)];
    for source in sources {
        let source = source.to_string_lossy().into_owned();
        // The compiler reports a missing file, together with other errors of the manifest.
        if let Ok(component) = open_within(rootfs, &source) {
            files.push((source, component));
        }
    }
    Ok(files)
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

    fn key(rootfs: &Path, path: &str) -> String {
        let files = files(rootfs, path, open_within(rootfs, path).unwrap()).unwrap();
        let app = App { path: path.to_owned(), flags: Vec::new(), artifact: None, files };
        app.cache_key(&rootfs.join("host")).unwrap()
    }

    #[test]
    fn the_cache_key_changes_with_the_files_and_the_host() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = directory.path();
        let manifest = "[component.a]\nsource = \"a.wasm\"\n[component.b]\nsource = { url = \"x\" }\n";
        fs::write(rootfs.join("host"), "1").unwrap();
        fs::write(rootfs.join("spin.toml"), manifest).unwrap();
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
        let file = open_within(directory.path(), "/spin.toml").unwrap();
        let error = files(directory.path(), "/spin.toml", file).unwrap_err().to_string();
        assert!(error.starts_with("/spin.toml: "), "{error}");
    }
}
