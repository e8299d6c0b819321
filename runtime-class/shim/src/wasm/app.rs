//! Finds the WebAssembly component or application that a container runs: a file of its image, or an artifact.
//!
//! The image is untrusted: the shim opens files within the root file system only, and bounds what it reads.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use sha2::{Digest as _, Sha256};
use wasi_http_host_manifest::{MAX_WASM_BYTES, Manifest};

use super::{artifact, cache::Entry, layout::ARTIFACT};
use crate::{
    error::{Context as _, Error, Result},
    node::Node,
    spec::Spec,
};

/// Bytes of all components of a container, each file once. All of them are read at each start of the container.
const COMPONENTS_MAX: u64 = 1 << 30;

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

/// Whether the container may be a WebAssembly container. An ordinary image with an empty root file system may be, too.
pub(super) fn is_possible(spec: &Spec, rootfs: &Path) -> bool {
    spec.args().first().is_some_and(|program| is_app(program) || is_empty(rootfs))
}

/// Finds what `spec` serves, if [`is_possible`]. `None` for an ordinary container.
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

/// A component's file.
#[derive(Debug)]
pub(super) struct Component {
    /// Path of the file in the container, for messages.
    pub(super) name: String,
    /// Path of the file on the node, without links.
    pub(super) file: PathBuf,
    /// SHA-256 of the file, in hexadecimal.
    pub(super) digest: String,
}

impl App {
    /// The components that the host serves, each file once, wherever the `spin.toml` names them. The host's own reader
    /// decides whether the app is a component or a manifest. Reads all files, so call it in a thread of its own.
    ///
    /// # Errors
    /// `InvalidArgument` when the `spin.toml` cannot be served, a file is missing, is not regular, or has more than 256 MiB, or
    /// all files have more than 1 GiB.
    pub(super) fn components(&self, rootfs: &Path) -> Result<Vec<Component>> {
        let invalid = |error: &dyn std::fmt::Display| Error::InvalidArgument(error.to_string());
        let path = Path::new(&self.path);
        let manifest = Manifest::read(&self.file, path).map_err(|error| invalid(&error))?;
        // A set: several components may have the same file.
        let sources: BTreeSet<PathBuf> =
            manifest.components.into_iter().map(|component| component.source).collect();
        let unreadable = |name: &str, error: io::Error| invalid(&format_args!("{name}: {error}"));
        // Several names may be links to the same file.
        let mut inodes = BTreeSet::new();
        let mut files = Vec::new();
        let mut left = COMPONENTS_MAX;
        for source in sources {
            let name = source.to_string_lossy().into_owned();
            let file = if source == path { self.file.try_clone() } else { open_within(rootfs, &name) };
            let file = file.map_err(|error| unreadable(&name, error))?;
            let metadata = file.metadata().map_err(|error| unreadable(&name, error))?;
            if !inodes.insert((metadata.dev(), metadata.ino())) {
                continue;
            }
            if metadata.len() > MAX_WASM_BYTES {
                return Err(invalid(&format_args!("{name}: over the limit of {MAX_WASM_BYTES} bytes")));
            }
            left = left.checked_sub(metadata.len()).ok_or_else(|| {
                invalid(&format_args!(
                    "{name}: with this component, the application's components have more than {COMPONENTS_MAX} bytes"
                ))
            })?;
            files.push((name, file));
        }
        let component = |(name, file): (String, File)| {
            let digest = digest(&file, MAX_WASM_BYTES).map_err(|error| unreadable(&name, error))?;
            let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()));
            let file = link.map_err(|error| unreadable(&name, error))?;
            Ok(Component { name, file, digest })
        };
        files.into_iter().map(component).collect()
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

/// SHA-256 of a file's content, in hexadecimal. An error if the file has more than `limit` bytes.
fn digest(file: &File, limit: u64) -> io::Result<String> {
    use std::os::unix::fs::FileExt as _;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    let mut offset = 0;
    loop {
        let read = file.read_at(&mut buffer, offset)?;
        if read == 0 {
            return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
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
    use std::{io::Read as _, os::unix::fs::symlink};

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

    fn components(rootfs: &Path, path: &str) -> Result<Vec<Component>> {
        let file = open_within(rootfs, path).unwrap();
        App { path: path.to_owned(), flags: Vec::new(), artifact: None, entry: None, file }.components(rootfs)
    }

    fn names(rootfs: &Path, path: &str) -> Vec<String> {
        components(rootfs, path).unwrap().into_iter().map(|component| component.name).collect()
    }

    /// A component in the manifest's own table, and one that a trigger defines in place.
    const TWO_FORMS: &str = r#"
        spin_manifest_version = 2
        application = { name = "test" }
        [[trigger.http]]
        route = "/a"
        component = "a"
        [[trigger.http]]
        route = "/b"
        component = { source = "b.wasm" }
        [component.a]
        source = "a.wasm"
    "#;

    #[test]
    fn each_component_counts_by_its_content_wherever_the_manifest_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = directory.path();
        fs::write(rootfs.join("spin.toml"), TWO_FORMS).unwrap();
        fs::write(rootfs.join("a.wasm"), "one").unwrap();
        fs::write(rootfs.join("b.wasm"), "two").unwrap();
        let digests =
            || components(rootfs, "/spin.toml").unwrap().into_iter().map(|component| component.digest);
        let before: Vec<_> = digests().collect();
        assert_eq!(names(rootfs, "/spin.toml"), ["/a.wasm", "/b.wasm"]);
        fs::write(rootfs.join("b.wasm"), "three").unwrap();
        let after: Vec<_> = digests().collect();
        assert_eq!(before[0], after[0]);
        assert_ne!(before[1], after[1]);
        assert_eq!(before[0], "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed");
    }

    /// As in the host, a file's content decides what the file is.
    #[test]
    fn a_manifest_counts_as_one_whatever_its_name() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = directory.path();
        fs::write(rootfs.join("app.wasm"), MANIFEST).unwrap();
        fs::write(rootfs.join("a.wasm"), "\0asm").unwrap();
        fs::write(rootfs.join("spin.toml"), "\0asm").unwrap();
        assert_eq!(names(rootfs, "/app.wasm"), ["/a.wasm"]);
        assert_eq!(names(rootfs, "/a.wasm"), ["/a.wasm"]);
        assert_eq!(names(rootfs, "/spin.toml"), ["/spin.toml"]);
    }

    #[test]
    fn an_error_names_the_invalid_manifest() {
        let directory = tempfile::tempdir().unwrap();
        for (text, error) in
            [("= no".to_owned(), "/spin.toml:1: "), ("#".repeat(2 << 20), "/spin.toml: over the limit")]
        {
            fs::write(directory.path().join("spin.toml"), text).unwrap();
            let found = components(directory.path(), "/spin.toml").unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
    }

    /// A manifest with one component for each name.
    fn manifest(names: &[&str]) -> String {
        let mut text = "spin_manifest_version = 2\napplication = { name = \"test\" }\n".to_owned();
        for name in names {
            text +=
                &format!("[[trigger.http]]\nroute = \"/{name}\"\ncomponent = {{ source = \"{name}\" }}\n");
        }
        text
    }

    #[test]
    fn a_file_with_several_names_is_read_once() {
        let directory = tempfile::tempdir().unwrap();
        let rootfs = directory.path();
        fs::write(rootfs.join("a.wasm"), "one").unwrap();
        fs::hard_link(rootfs.join("a.wasm"), rootfs.join("b.wasm")).unwrap();
        symlink("a.wasm", rootfs.join("c.wasm")).unwrap();
        fs::write(rootfs.join("d.wasm"), "two").unwrap();
        let text = manifest(&["a.wasm", "b.wasm", "c.wasm", "d.wasm"]);
        fs::write(rootfs.join("spin.toml"), text).unwrap();
        assert_eq!(names(rootfs, "/spin.toml"), ["/a.wasm", "/d.wasm"]);
    }

    /// The files are sparse, and nothing of them is read.
    #[test]
    fn components_have_a_bound_alone_and_together() {
        let directory = tempfile::tempdir().unwrap();
        let sparse =
            |name: &str, bytes| File::create(directory.path().join(name)).unwrap().set_len(bytes).unwrap();
        let refused = |names: &[&str]| {
            fs::write(directory.path().join("spin.toml"), manifest(names)).unwrap();
            components(directory.path(), "/spin.toml").unwrap_err().to_string()
        };
        sparse("large.wasm", MAX_WASM_BYTES + 1);
        assert_eq!(refused(&["large.wasm"]), "/large.wasm: over the limit of 268435456 bytes");
        let names = ["a.wasm", "b.wasm", "c.wasm", "d.wasm", "e.wasm"];
        for name in names {
            sparse(name, MAX_WASM_BYTES);
        }
        let error = refused(&names);
        assert!(
            error.starts_with("/e.wasm: ") && error.ends_with("have more than 1073741824 bytes"),
            "{error}"
        );
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
            let error = components(&rootfs, "/spin.toml").unwrap_err().to_string();
            assert!(error.contains(".wasm: No such file"), "{error}");
        }
    }
}
