//! Images that are OCI WebAssembly artifacts: no file system, and one layer that is the component.
//!
//! Format: the CNCF's "Wasm OCI Artifact layout". containerd stores the layer without unpacking it. The shim reads the
//! layer over containerd's gRPC API, in a child process that exits afterwards. Such images are rare, and a gRPC client
//! would otherwise stay in every shim's memory.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use containerd_client::{
    services::v1::{
        GetContainerRequest, GetImageRequest, ReadContentRequest, containers_client::ContainersClient,
        content_client::ContentClient, images_client::ImagesClient,
    },
    tonic::{Code, Request, Status, transport::Channel},
    with_namespace,
};
use nix::sys::{prctl::set_pdeathsig, signal::Signal};
use rustix::fs::{MemfdFlags, memfd_create};
use serde::{Deserialize, de::Error as _};
use sha2::{Digest as _, Sha256};
use wasi_http_host_core::bounded;
use wasi_http_host_manifest::MAX_WASM_BYTES;

use super::{cache::Entry, exact::Exact};
use crate::{
    error::{Context as _, Error, Result},
    node::Node,
    reaper::{Ended, Reaper},
};

/// The shim's own command that fetches the component.
pub(crate) const ACTION: &str = "wasi-http-artifact";
/// Media type of an artifact's configuration.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media types of a layer that is a component: the layout's own, and an older one of the Bytecode Alliance.
const LAYERS: [&str; 2] =
    ["application/wasm", "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"];
/// What the media types of a layer begin with that is a part of a file system.
const FILE_SYSTEMS: [&str; 2] = ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];
/// What the media types begin with that `spin registry push` gives an application's description. Their layers are no file
/// system and no artifact of the layout.
const SPIN: &str = "application/vnd.fermyon.spin.";
/// Media types that a message lists, and bytes of each.
const TYPES_LISTED: usize = 4;
const TYPE_MAX: usize = 100;
/// Media types of an image index.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Time for the child process, from connecting to containerd to the last byte of the component.
const FETCH_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of the child process's answer: a path or an error.
const ANSWER_MAX: usize = 16 << 10;
/// Manifests of an index. An image for all platforms, with an attestation for each, has some dozens.
const INDEX_MAX: usize = 128;
/// Bytes of a manifest or an index.
const MANIFEST_MAX: u64 = 4 << 20;

/// Saves the component of container `id`'s image in the node's cache, and returns the entry. `None` if the image is no
/// WebAssembly artifact.
///
/// # Errors
/// `InvalidArgument` when the image is an artifact without exactly one component, or has neither a file system nor a
/// component; when containerd cannot be asked. When the image takes longer than 60 s (then the child process is killed).
pub(super) async fn fetch(node: &Node, id: &str) -> Result<Option<Entry>> {
    let path = ask_containerd(node, ACTION, id).await?;
    if path.is_empty() {
        return Ok(None);
    }
    let entry = node.cache.use_entry(Path::new(&path)).await?.ok_or_else(|| {
        Error::Other(format!("container {id}: {path} was removed from the cache before it was mounted"))
    })?;
    node.cache.prune();
    Ok(Some(entry))
}

/// Runs the shim's own command `action`, which asks containerd about the image of container `id`, and returns what the command
/// prints.
///
/// # Errors
/// `InvalidArgument` with what the command printed, when it failed. When it takes longer than 60 s.
pub(super) async fn ask_containerd(node: &Node, action: &str, id: &str) -> Result<String> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    node.cache.create()?;
    let number = CALLS.fetch_add(1, Ordering::Relaxed);
    let temporary = node.cache.artifacts().join(format!("{}-{number}.new", process::id()));
    let mut command = Command::new("/proc/self/exe");
    let limit = node.cache.max_bytes.min(MAX_WASM_BYTES).to_string();
    command.arg(action).args([&node.address, &node.namespace, id, &limit]).arg(&temporary).env_clear();
    let answer = ask(&node.reaper, &mut command, &temporary, FETCH_TIMEOUT).await;
    answer.map_err(|error| match error {
        Error::Other(reason) => Error::Other(format!(
            "container {id}: fetch its image from containerd at {}: {reason}",
            node.address
        )),
        error => error,
    })
}

/// Runs `command` for at most `limit`, and returns what it printed. `temporary` is its file, which is removed in any case.
///
/// # Errors
/// `InvalidArgument` with what the command printed, when it failed; `Other` when it cannot be run or took too long.
async fn ask(
    reaper: &Arc<Reaper>,
    command: &mut Command,
    temporary: &Path,
    limit: Duration,
) -> Result<String> {
    // In memory: a shim that is killed leaves no file.
    let answer = File::from(memfd_create(ACTION, MemfdFlags::CLOEXEC).context(|| "create a file in memory")?);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    command.stdout(answer.try_clone().context(|| "standard output of the command")?);
    let program = reaper.spawn(command).context(|| format!("start {ACTION}"))?;
    let ended = program.end_within(limit).await;
    // Best effort. When the file is complete, it has a second name, which stays.
    let _ = fs::remove_file(temporary);
    let mut text = vec![0; ANSWER_MAX];
    let length = answer.read_at(&mut text, 0).context(|| "the command's answer")?;
    text.truncate(length);
    let text = String::from_utf8_lossy(&text).into_owned();
    match ended {
        Ok(Ended::Exited(exit)) if exit.status == 0 => Ok(text),
        Ok(Ended::Exited(_)) if !text.is_empty() => Err(Error::InvalidArgument(text)),
        Ok(Ended::Exited(exit)) => Err(Error::Other(format!("exit status {}", exit.status))),
        Ok(Ended::Killed) => Err(Error::Other(format!("killed after {} s", limit.as_secs()))),
        Err(error) => Err(Error::Other(format!("its exit status was not collected: {error}"))),
    }
}

/// The command [`ACTION`]: returns the component's path, or an empty text if the image is no WebAssembly artifact.
///
/// Arguments: containerd's address, namespace, container, bytes that the component may have, and a file that does not exist.
/// The component is written to that file, which then gets a second name in its directory. The caller removes the first.
///
/// # Errors
/// As [`fetch`]; the shim takes the error's text from the command's standard output.
pub(crate) fn run(args: &[OsString]) -> Result<String> {
    let found = with_image(ACTION, args, async |image, temporary| match image {
        Some(image) => image.component(temporary).await,
        None => Ok(None),
    })?;
    Ok(found.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default())
}

/// Calls `read` with the container's image and the command's temporary file, for a command that [`ask_containerd`] runs. The
/// image is `None` for a container that was created from none.
pub(super) fn with_image<T>(
    action: &str,
    args: &[OsString],
    read: impl AsyncFnOnce(Option<Image>, &Path) -> Result<T>,
) -> Result<T> {
    // The command must not outlive the shim, which kills it at its limit.
    set_pdeathsig(Signal::SIGKILL).context(|| "set the parent-death signal")?;
    let [address, namespace, id, limit, temporary] = args else {
        return Err(Error::InvalidArgument(format!("{action}: expected 5 arguments, got {}", args.len())));
    };
    let text = |arg: &OsString| arg.to_string_lossy().into_owned();
    let limit = text(limit);
    let limit = limit.parse().map_err(|_| Error::InvalidArgument(format!("{action}: no limit: {limit}")))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "start the async runtime")?;
    runtime.block_on(async {
        let image = Image::of(&text(address), &text(namespace), &text(id), limit).await?;
        read(image, Path::new(temporary)).await
    })
}

/// A content descriptor (OCI image specification, `descriptor.md`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    #[serde(default)]
    media_type: String,
    pub(super) digest: String,
    #[serde(default)]
    size: u64,
}

/// An image manifest or an image index (OCI image specification, `manifest.md` and `image-index.md`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OciManifest {
    pub(super) config: Option<Exact<Descriptor>>,
    #[serde(default)]
    layers: Vec<Exact<Descriptor>>,
    /// The manifests of an index.
    #[serde(default)]
    pub(super) manifests: Vec<Exact<Descriptor>>,
}

/// The kind of image that a manifest describes.
#[derive(Debug, PartialEq, Eq)]
enum ImageKind {
    /// An image with a file system.
    Ordinary,
    /// A WebAssembly artifact: digest of the component's layer, and its size in bytes.
    Artifact(String, u64),
    /// Neither. The text says what it is and what to do.
    Unknown(String),
}

impl OciManifest {
    /// # Errors
    /// When the text is neither a manifest nor an index, or could be read in two ways.
    fn parse(text: &[u8]) -> serde_json::Result<Self> {
        let Exact(manifest): Exact<Self> = serde_json::from_slice(text)?;
        if manifest.config.is_none() && manifest.manifests.is_empty() {
            return Err(serde_json::Error::custom("it has neither `config` nor `manifests`"));
        }
        Ok(manifest)
    }

    fn kind(&self, image: &str) -> Result<ImageKind> {
        if let Some(spin) = self.media_types().find(|media_type| media_type.starts_with(SPIN)) {
            return Ok(ImageKind::Unknown(format!(
                "image {image}: it is an application in the form of `spin registry push` ({}), which this runtime class \
                 does not serve: build an image that holds the spin.toml and its components, with /spin.toml as its \
                 entrypoint",
                printable(spin)
            )));
        }
        let is_component = |layer: &&Exact<Descriptor>| LAYERS.contains(&layer.media_type.as_str());
        let mut components = self.layers.iter().filter(is_component);
        let configured = self.config.as_ref().is_some_and(|config| config.media_type == CONFIG);
        match (components.next(), components.next()) {
            (Some(layer), None) => Ok(ImageKind::Artifact(layer.digest.clone(), layer.size)),
            (None, _) if configured => Err(Error::InvalidArgument(format!(
                "image {image}: none of its {} layers is of type {}",
                self.layers.len(),
                LAYERS.join(" or ")
            ))),
            (None, _) if self.has_file_system() => Ok(ImageKind::Ordinary),
            (None, _) => Ok(ImageKind::Unknown(format!(
                "image {image}: it has no file system and is no WebAssembly artifact: its layers are of type {}: use an \
                 image with a file system that starts a .wasm or a spin.toml, or an artifact with exactly one layer of type {}",
                self.layer_types(),
                LAYERS.join(" or ")
            ))),
            (Some(_), Some(_)) => Err(Error::InvalidArgument(format!(
                "image {image}: {} layers are WebAssembly, expected exactly one",
                2 + components.count()
            ))),
        }
    }

    /// Whether a layer is a part of a file system. An image without layers has an empty file system.
    fn has_file_system(&self) -> bool {
        let is_part =
            |layer: &Exact<Descriptor>| FILE_SYSTEMS.iter().any(|start| layer.media_type.starts_with(start));
        self.layers.is_empty() || self.layers.iter().any(is_part)
    }

    fn media_types(&self) -> impl Iterator<Item = &str> {
        self.config.iter().chain(&self.layers).map(|descriptor| descriptor.media_type.as_str())
    }

    /// The types of the layers for a message, each once.
    fn layer_types(&self) -> String {
        let types: BTreeSet<&str> = self.layers.iter().map(|layer| layer.media_type.as_str()).collect();
        let listed: Vec<String> =
            types.iter().take(TYPES_LISTED).map(|media_type| printable(media_type)).collect();
        let more = if types.len() > TYPES_LISTED { ", …" } else { "" };
        format!("{}{more}", listed.join(", "))
    }
}

/// A media type as a part of a message. The manifest's author may have written anything.
fn printable(media_type: &str) -> String {
    bounded(media_type, TYPE_MAX).escape_debug().to_string()
}

/// An image in containerd's image store, and a connection to containerd.
pub(super) struct Image {
    pub(super) name: String,
    pub(super) digest: String,
    namespace: String,
    /// Bytes that a component may have.
    limit: u64,
    channel: Channel,
}

impl Image {
    /// The image of container `id`. `None` if the container was created from none.
    async fn of(address: &str, namespace: &str, id: &str, limit: u64) -> Result<Option<Self>> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::Other(format!("ask containerd for the image of container {id}: {error}"))
        };
        let channel = containerd_client::connect(address)
            .await
            .map_err(|error| Error::Other(format!("{address}: {error}")))?;
        let request = GetContainerRequest { id: id.to_owned() };
        let request = with_namespace!(request, namespace);
        let container =
            ContainersClient::new(channel.clone()).get(request).await.map_err(|error| failed(&error))?;
        let name = container.into_inner().container.map(|container| container.image).unwrap_or_default();
        if name.is_empty() {
            return Ok(None);
        }
        let request = with_namespace!(GetImageRequest { name: name.clone() }, namespace);
        let image = ImagesClient::new(channel.clone()).get(request).await.map_err(|error| failed(&error))?;
        let target = image.into_inner().image.and_then(|image| image.target);
        let digest = target.map(|target| target.digest).unwrap_or_default();
        Ok(Some(Self { name, digest, namespace: namespace.to_owned(), limit, channel }))
    }

    async fn component(&self, temporary: &Path) -> Result<Option<PathBuf>> {
        let mut manifest = self.manifest(&self.digest).await?;
        if let [only] = manifest.manifests.as_slice() {
            manifest = self.manifest(&only.digest.clone()).await?;
        } else if !manifest.manifests.is_empty() {
            manifest = self.first_artifact(&manifest).await?;
        }
        match manifest.kind(&self.name)? {
            ImageKind::Ordinary => Ok(None),
            ImageKind::Unknown(what) => Err(Error::InvalidArgument(what)),
            ImageKind::Artifact(digest, size) => self.save(&digest, size, temporary).await.map(Some),
        }
    }

    /// The first WebAssembly artifact of an index. If there is none, the first ordinary image, or else the first manifest.
    ///
    /// # Errors
    /// `InvalidArgument` when the index has more than 128 manifests: containerd is asked for each.
    async fn first_artifact(&self, index: &OciManifest) -> Result<OciManifest> {
        if index.manifests.len() > INDEX_MAX {
            return Err(Error::InvalidArgument(format!(
                "image {}: its index has {} manifests, no more than {INDEX_MAX} are allowed",
                self.name,
                index.manifests.len()
            )));
        }
        let (mut ordinary, mut unknown) = (None, None);
        for descriptor in index.manifests.iter().filter(|entry| !INDEXES.contains(&entry.media_type.as_str()))
        {
            let manifest = match self.manifest(&descriptor.digest).await {
                // containerd does not fetch the manifests of other platforms.
                Err(Error::NotFound(_)) => continue,
                manifest => manifest?,
            };
            let other = match manifest.kind(&self.name) {
                Ok(ImageKind::Ordinary) => &mut ordinary,
                // An index may hold attestations beside its images.
                Ok(ImageKind::Unknown(_)) => &mut unknown,
                _ => return Ok(manifest),
            };
            other.get_or_insert(manifest);
        }
        let empty = OciManifest { config: None, layers: Vec::new(), manifests: Vec::new() };
        Ok(ordinary.or(unknown).unwrap_or(empty))
    }

    /// A manifest or an index of the image.
    ///
    /// # Errors
    /// As [`Self::document`].
    pub(super) async fn manifest(&self, digest: &str) -> Result<OciManifest> {
        self.document(digest, OciManifest::parse).await
    }

    /// A JSON document of the image.
    ///
    /// # Errors
    /// `NotFound` when containerd does not have the document. `InvalidArgument` when it cannot be parsed.
    pub(super) async fn document<T>(
        &self,
        digest: &str,
        parse: impl FnOnce(&[u8]) -> serde_json::Result<T>,
    ) -> Result<T> {
        let mut text = Vec::new();
        self.read(digest, MANIFEST_MAX, &mut text).await?;
        parse(&text).map_err(|error| {
            Error::InvalidArgument(format!("image {}, content {digest}: {error}", self.name))
        })
    }

    /// Writes the layer to a file beside `temporary` whose name is the digest. An existing file of the right size is kept.
    async fn save(&self, digest: &str, size: u64, temporary: &Path) -> Result<PathBuf> {
        let hex = digest.strip_prefix("sha256:").filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
        let hex = hex.ok_or_else(|| {
            Error::InvalidArgument(format!("image {}: {digest} is not a sha256 digest", self.name))
        })?;
        if size > self.limit {
            return Err(Error::InvalidArgument(format!(
                "image {}: its component has {size} bytes, no more than {} are allowed",
                self.name, self.limit
            )));
        }
        let path = temporary.with_file_name(format!("{hex}.wasm"));
        if has_size(&path, size) {
            return Ok(path);
        }
        let created = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(temporary);
        let mut file = created.context(|| temporary.display())?;
        self.read(digest, self.limit, &mut file).await?;
        name_once(temporary, &path, size)?;
        Ok(path)
    }

    /// Copies content from containerd's content store, and verifies its digest.
    ///
    /// # Errors
    /// `NotFound` when there is no such content. When its digest does not match, or it has more than `limit` bytes.
    async fn read(&self, digest: &str, limit: u64, to: &mut impl io::Write) -> Result<()> {
        let failed = |reason: &dyn std::fmt::Display| {
            Error::Other(format!("image {}, content {digest}: {reason}", self.name))
        };
        let refused = |status: Status| match status.code() {
            Code::NotFound => Error::NotFound(format!("image {}, content {digest}: {status}", self.name)),
            _ => failed(&status),
        };
        let namespace = &self.namespace;
        let request = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
        let request = with_namespace!(request, namespace);
        let response = ContentClient::new(self.channel.clone()).read(request).await.map_err(refused)?;
        let mut chunks = response.into_inner();
        let (mut hash, mut length) = (Sha256::new(), 0_u64);
        while let Some(chunk) = chunks.message().await.map_err(refused)? {
            length = length.saturating_add(chunk.data.len() as u64);
            if length > limit {
                return Err(failed(&format!("more than {limit} bytes")));
            }
            hash.update(&chunk.data);
            to.write_all(&chunk.data).map_err(|error| failed(&error))?;
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if digest.strip_prefix("sha256:") == Some(&hex) {
            Ok(())
        } else {
            Err(failed(&format!("its bytes have the digest sha256:{hex}")))
        }
    }
}

/// Gives the complete file `temporary` the name `path` too. An existing file of this size is the same component, which another
/// shim has saved meanwhile. It keeps its name: containers are created from it by that name.
fn name_once(temporary: &Path, path: &Path, size: u64) -> Result<()> {
    match fs::hard_link(temporary, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && has_size(path, size) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => fs::rename(temporary, path),
        linked => linked,
    }
    .context(|| path.display())
}

fn has_size(path: &Path, size: u64) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() == size)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use serde_json::json;
    use testkit::wait::eventually;

    use super::*;
    use crate::reaper::tests::is_alive;

    /// Two pods of two images with the same component save it at the same time.
    #[test]
    fn a_component_that_another_shim_has_saved_meanwhile_keeps_its_file() {
        let directory = tempfile::tempdir().unwrap();
        let [first, second, path] = ["1.new", "2.new", "c.wasm"].map(|name| directory.path().join(name));
        fs::write(&first, "component").unwrap();
        fs::write(&second, "component").unwrap();
        name_once(&first, &path, 9).unwrap();
        let saved = fs::metadata(&path).unwrap().ino();
        name_once(&second, &path, 9).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().ino(), saved);
        fs::write(&path, "broken").unwrap();
        name_once(&second, &path, 9).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "component");
    }

    fn kind(manifest: serde_json::Value) -> Result<ImageKind> {
        serde_json::from_value::<OciManifest>(manifest).unwrap().kind("example/app:1")
    }

    fn layer(media_type: &str, digest: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": digest, "size": 7})
    }

    /// A command that hangs, as while containerd does not answer, is killed with its children, and its file is removed.
    #[tokio::test]
    async fn a_fetch_that_takes_too_long_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let temporary = directory.path().join("1-0.new");
        let started = directory.path().join("pid");
        let reaper = Arc::new(Reaper::default());
        let mut limit = Duration::from_millis(100);
        let child = loop {
            let mut command = Command::new("sh");
            command.args(["-c", "echo part >$1; sleep 1000 & echo $! >$2; wait", "sh"]);
            command.arg(&temporary).arg(&started);
            let asked = ask(&reaper, &mut command, &temporary, limit);
            let error = reaper.collect_until(asked).await.unwrap_err();
            assert_eq!(error.to_string(), format!("killed after {} s", limit.as_secs()));
            assert!(!temporary.exists());
            match fs::read_to_string(&started) {
                Ok(child) if child.ends_with('\n') => break child.trim().to_owned(),
                // Killed before it came so far.
                _ => limit *= 2,
            }
        };
        eventually("the command's child is killed", || (!is_alive(&child)).then_some(()));
    }

    #[tokio::test]
    async fn an_error_is_what_the_command_printed() {
        let reaper = Arc::new(Reaper::default());
        for (script, expected) in [
            ("echo -n reason; exit 1", "reason"),
            ("exit 3", "exit status 3"),
            ("kill -KILL $$", "exit status 137"),
        ] {
            let mut command = Command::new("sh");
            let asked = ask(
                &reaper,
                command.args(["-c", script]),
                Path::new("/nonexistent"),
                Duration::from_secs(60),
            );
            assert_eq!(reaper.collect_until(asked).await.unwrap_err().to_string(), expected);
        }
        let mut command = Command::new("sh");
        let long = command.args(["-c", "head -c 1000000 /dev/zero"]);
        let asked = ask(&reaper, long, Path::new("/nonexistent"), Duration::from_secs(60));
        assert_eq!(reaper.collect_until(asked).await.unwrap().len(), ANSWER_MAX);
    }

    /// containerd reads these with Go's `encoding/json`, for which `Config` and `config` are the same key.
    #[test]
    fn a_manifest_that_containerd_reads_otherwise_is_refused() {
        let digest = format!("sha256:{:064x}", 1);
        for (text, reason) in [
            (format!(r#"{{"Config": {{"digest": "{digest}"}}}}"#), r#""Config" differs from "config""#),
            (
                format!(r#"{{"manifestſ": [{{"digest": "{digest}"}}]}}"#),
                r#""manifestſ" differs from "manifests""#,
            ),
            (
                format!(r#"{{"config": {{"digest": "x", "DIGEST": "{digest}"}}}}"#),
                r#""DIGEST" differs from "digest""#,
            ),
            (format!(r#"{{"config": {{"digest": "x", "digest": "{digest}"}}}}"#), "duplicate field `digest`"),
            ("{}".to_owned(), "it has neither `config` nor `manifests`"),
        ] {
            let error = OciManifest::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        let text = format!(
            r#"{{"config": {{"digest": "{digest}"}}, "annotations": {{"Config": "", "config": ""}}}}"#
        );
        assert_eq!(OciManifest::parse(text.as_bytes()).unwrap().config.unwrap().digest, digest);
    }

    #[test]
    fn both_types_of_layer_are_components() {
        for media_type in LAYERS {
            let layers = [layer(media_type, "sha256:a")];
            let manifest = json!({"config": layer(CONFIG, "sha256:c"), "layers": layers});
            assert_eq!(kind(manifest).unwrap(), ImageKind::Artifact("sha256:a".to_owned(), 7));
        }
    }

    #[test]
    fn other_layers_beside_the_component_do_not_matter() {
        let layers = json!([layer("text/plain", "sha256:t"), layer(LAYERS[0], "sha256:a")]);
        let manifest = json!({"config": layer(CONFIG, "sha256:c"), "layers": layers});
        assert_eq!(kind(manifest).unwrap(), ImageKind::Artifact("sha256:a".to_owned(), 7));
    }

    #[test]
    fn an_ordinary_image_is_no_artifact() {
        let config = layer("application/vnd.oci.image.config.v1+json", "sha256:c");
        let layers = json!([layer("application/vnd.oci.image.layer.v1.tar+gzip", "sha256:l")]);
        assert_eq!(kind(json!({"config": config, "layers": layers})).unwrap(), ImageKind::Ordinary);
    }

    fn unknown(manifest: serde_json::Value) -> String {
        match kind(manifest).unwrap() {
            ImageKind::Unknown(what) => what,
            other => panic!("{other:?}"),
        }
    }

    /// As `spin registry push` writes it, and as older versions did.
    #[test]
    fn spin_s_form_is_named_with_what_to_do() {
        let config = layer("application/vnd.oci.image.config.v1+json", "sha256:c");
        let component = layer("application/vnd.wasm.content.layer.v1+wasm", "sha256:a");
        let application = "application/vnd.fermyon.spin.application.v1+config";
        let of_wkg = layer(LAYERS[0], "sha256:a");
        for manifest in [
            json!({"config": config, "layers": [component, layer(application, "sha256:l")]}),
            json!({"config": layer(application, "sha256:l"), "layers": [component]}),
            // One component, but served alone it would not have the limits of the manifest.
            json!({"config": config, "layers": [of_wkg, layer(application, "sha256:l")]}),
        ] {
            let what = unknown(manifest);
            assert!(
                what.starts_with(
                    "image example/app:1: it is an application in the form of `spin registry push`"
                ),
                "{what}"
            );
            assert!(
                what.contains(application) && what.ends_with("with /spin.toml as its entrypoint"),
                "{what}"
            );
        }
    }

    #[test]
    fn an_image_of_another_form_is_named_by_the_types_of_its_layers() {
        let config = layer("application/vnd.oci.image.config.v1+json", "sha256:c");
        let layers: Vec<_> = ["e", "d", "c", "b\u{1b}", "a", "a"].map(|kind| layer(kind, "sha256:l")).into();
        let what = unknown(json!({"config": config, "layers": layers}));
        assert!(
            what.contains("its layers are of type a, b\\u{1b}, c, d, …: use an image with a file system"),
            "{what}"
        );
        let long = unknown(json!({"config": config, "layers": [layer(&"x".repeat(1000), "sha256:l")]}));
        assert!(long.len() < 500, "{long}");
    }

    #[test]
    fn an_image_without_layers_is_ordinary() {
        let config = layer("application/vnd.oci.image.config.v1+json", "sha256:c");
        assert_eq!(kind(json!({"config": config, "layers": []})).unwrap(), ImageKind::Ordinary);
    }

    #[test]
    fn two_components_are_refused_by_name_and_number() {
        let layers =
            json!([layer(LAYERS[0], "sha256:a"), layer(LAYERS[1], "sha256:b"), layer(LAYERS[0], "sha256:d")]);
        let error =
            kind(json!({"config": layer(CONFIG, "sha256:c"), "layers": layers})).unwrap_err().to_string();
        assert!(error.contains("example/app:1") && error.contains("3 layers"), "{error}");
    }

    #[test]
    fn an_artifact_without_a_component_is_refused() {
        let layers = json!([layer("text/plain", "sha256:t")]);
        let error =
            kind(json!({"config": layer(CONFIG, "sha256:c"), "layers": layers})).unwrap_err().to_string();
        assert!(error.contains("example/app:1") && error.contains("none of its 1 layers"), "{error}");
    }
}
