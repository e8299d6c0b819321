//! Images that are OCI WebAssembly artifacts: no file system, and one layer that is the component.
//!
//! Format: the CNCF's "Wasm OCI Artifact layout". containerd stores the layer without unpacking it. The shim reads the
//! layer over containerd's gRPC API, in a child process that exits afterwards. Such images are rare, and a gRPC client
//! would otherwise stay in every shim's memory.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio, id},
    time::Duration,
};

use containerd_client::{
    services::v1::{
        GetContainerRequest, GetImageRequest, ReadContentRequest, containers_client::ContainersClient,
        content_client::ContentClient, images_client::ImagesClient,
    },
    tonic::{Request, transport::Channel},
    with_namespace,
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::cache::{ARTIFACTS, prune, touch};
use crate::{
    error::{Context as _, Error, Result},
    node::Node,
    reaper::Ended,
};

/// The shim's own command that fetches the component.
pub(crate) const ACTION: &str = "wasi-http-artifact";
/// Media type of an artifact's configuration.
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// Media types of a layer that is a component: the layout's own, and an older one of the Bytecode Alliance.
const LAYERS: [&str; 2] =
    ["application/wasm", "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"];
/// Media types of an image index.
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
/// Time to connect to containerd. The child process has 5 s more for the rest.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);
/// Bytes of a manifest or an index.
const MANIFEST_MAX: u64 = 4 << 20;
/// Bytes of a component.
const LAYER_MAX: u64 = 512 << 20;

/// Saves the component of container `id`'s image as a file of the node, and returns its path. `None` if the image is no
/// WebAssembly artifact.
///
/// # Errors
/// `InvalidArgument` when the image is an artifact without exactly one component, or containerd cannot be asked.
pub(super) async fn fetch(node: &Node, id: &str) -> Result<Option<PathBuf>> {
    let directory = node.cache.join(ARTIFACTS);
    DirBuilder::new().recursive(true).mode(0o755).create(&directory).context(|| directory.display())?;
    let output_file = directory.join(format!("{id}.answer"));
    let output = File::create(&output_file).context(|| output_file.display())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(ACTION).args([&node.address, &node.namespace, id]).arg(&directory);
    command.env_clear().stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
    let program = node.reaper.spawn(&mut command).context(|| format!("start {ACTION}"))?;
    let ended = program.end_within(CONNECT_TIMEOUT + Duration::from_secs(5)).await;
    let text = fs::read_to_string(&output_file).unwrap_or_default();
    // Best effort: the next call for this container overwrites the file.
    let _ = fs::remove_file(&output_file);
    match ended {
        Ok(Ended::Exited(exit)) if exit.status == 0 => {
            let component = Some(text).filter(|path| !path.is_empty()).map(PathBuf::from);
            if let Some(component) = &component {
                touch(component);
                prune(&directory, component);
            }
            Ok(component)
        }
        Ok(Ended::Exited(_)) => Err(Error::InvalidArgument(text)),
        _ => Err(Error::Other(format!(
            "container {id}: containerd at {} did not return its image in time",
            node.address
        ))),
    }
}

/// The command [`ACTION`]: returns the component's path, or an empty text if the image is no WebAssembly artifact.
///
/// # Errors
/// As [`fetch`]; the shim takes the error's text from the command's standard output.
pub(crate) fn run(args: &[OsString]) -> Result<String> {
    let [address, namespace, id, directory] = args else {
        return Err(Error::InvalidArgument(format!("{ACTION}: expected 4 arguments, got {}", args.len())));
    };
    let text = |arg: &OsString| arg.to_string_lossy().into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context(|| "start the async runtime")?;
    let found = runtime.block_on(async {
        let image = Image::of(&text(address), &text(namespace), &text(id)).await?;
        image.component(Path::new(directory)).await
    })?;
    Ok(found.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default())
}

/// A content descriptor (OCI image specification, `descriptor.md`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
}

/// An image manifest or an image index (OCI image specification, `manifest.md` and `image-index.md`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OciManifest {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    /// The manifests of an index.
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// The kind of image that a manifest describes.
#[derive(Debug, PartialEq, Eq)]
enum ImageKind {
    /// An image with a file system.
    Ordinary,
    /// A WebAssembly artifact: digest of the component's layer, and its size in bytes.
    Artifact(String, u64),
}

impl OciManifest {
    fn kind(&self, image: &str) -> Result<ImageKind> {
        let is_component = |layer: &&Descriptor| LAYERS.contains(&layer.media_type.as_str());
        let mut components = self.layers.iter().filter(is_component);
        let configured = self.config.as_ref().is_some_and(|config| config.media_type == CONFIG);
        match (components.next(), components.next()) {
            (Some(layer), None) => Ok(ImageKind::Artifact(layer.digest.clone(), layer.size)),
            (None, _) if !configured => Ok(ImageKind::Ordinary),
            (None, _) => Err(Error::InvalidArgument(format!(
                "image {image}: none of its {} layers is of type {}",
                self.layers.len(),
                LAYERS.join(" or ")
            ))),
            (Some(_), Some(_)) => Err(Error::InvalidArgument(format!(
                "image {image}: {} layers are WebAssembly, expected exactly one",
                2 + components.count()
            ))),
        }
    }
}

/// An image in containerd's image store, and a connection to containerd.
struct Image {
    name: String,
    digest: String,
    namespace: String,
    channel: Channel,
}

impl Image {
    async fn of(address: &str, namespace: &str, id: &str) -> Result<Self> {
        let failed = |error: &dyn std::fmt::Display| {
            Error::Other(format!("ask containerd for the image of container {id}: {error}"))
        };
        let channel = timeout(CONNECT_TIMEOUT, containerd_client::connect(address))
            .await
            .map_err(|error| failed(&error))?;
        let channel = channel.map_err(|error| Error::Other(format!("{address}: {error}")))?;
        let request = GetContainerRequest { id: id.to_owned() };
        let request = with_namespace!(request, namespace);
        let container =
            ContainersClient::new(channel.clone()).get(request).await.map_err(|error| failed(&error))?;
        let name = container.into_inner().container.map(|container| container.image).unwrap_or_default();
        let request = with_namespace!(GetImageRequest { name: name.clone() }, namespace);
        let image = ImagesClient::new(channel.clone()).get(request).await.map_err(|error| failed(&error))?;
        let target = image.into_inner().image.and_then(|image| image.target);
        let digest = target.map(|target| target.digest).unwrap_or_default();
        Ok(Self { name, digest, namespace: namespace.to_owned(), channel })
    }

    async fn component(&self, directory: &Path) -> Result<Option<PathBuf>> {
        let mut manifest = self.manifest(&self.digest).await?;
        if let [only] = manifest.manifests.as_slice() {
            manifest = self.manifest(&only.digest.clone()).await?;
        } else if !manifest.manifests.is_empty() {
            manifest = self.first_artifact(&manifest).await?;
        }
        match manifest.kind(&self.name)? {
            ImageKind::Ordinary => Ok(None),
            ImageKind::Artifact(digest, size) => self.save(&digest, size, directory).await.map(Some),
        }
    }

    /// The first WebAssembly artifact of an index; an empty manifest if there is none.
    async fn first_artifact(&self, index: &OciManifest) -> Result<OciManifest> {
        for descriptor in index.manifests.iter().filter(|entry| !INDEXES.contains(&entry.media_type.as_str()))
        {
            // containerd may not have fetched the manifests of other platforms.
            let Ok(manifest) = self.manifest(&descriptor.digest).await else { continue };
            if !matches!(manifest.kind(&self.name), Ok(ImageKind::Ordinary)) {
                return Ok(manifest);
            }
        }
        Ok(OciManifest { config: None, layers: Vec::new(), manifests: Vec::new() })
    }

    async fn manifest(&self, digest: &str) -> Result<OciManifest> {
        let mut text = Vec::new();
        self.read(digest, MANIFEST_MAX, &mut text).await?;
        serde_json::from_slice(&text).map_err(|error| {
            Error::InvalidArgument(format!("image {}, manifest {digest}: {error}", self.name))
        })
    }

    /// Writes the layer to a file whose name is the digest. An existing file of the right size is kept.
    async fn save(&self, digest: &str, size: u64, directory: &Path) -> Result<PathBuf> {
        let hex = digest.strip_prefix("sha256:").filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
        let hex = hex.ok_or_else(|| {
            Error::InvalidArgument(format!("image {}: {digest} is not a sha256 digest", self.name))
        })?;
        let path = directory.join(format!("{hex}.wasm"));
        if fs::metadata(&path).is_ok_and(|metadata| metadata.len() == size) {
            return Ok(path);
        }
        let temporary = directory.join(format!("{hex}.{}.new", id()));
        let created = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&temporary);
        let mut file = created.context(|| temporary.display())?;
        let saved = match self.read(digest, LAYER_MAX, &mut file).await {
            Ok(()) => fs::rename(&temporary, &path).context(|| path.display()),
            Err(error) => Err(error),
        };
        if saved.is_err() {
            // Best effort: the first error is the one to report.
            let _ = fs::remove_file(&temporary);
        }
        saved.map(|()| path)
    }

    /// Copies content from containerd's content store, and verifies its digest.
    ///
    /// # Errors
    /// When there is no such content, its digest does not match, or it has more than `limit` bytes.
    async fn read(&self, digest: &str, limit: u64, to: &mut impl std::io::Write) -> Result<()> {
        let failed = |reason: &dyn std::fmt::Display| {
            Error::Other(format!("image {}, content {digest}: {reason}", self.name))
        };
        let namespace = &self.namespace;
        let request = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
        let request = with_namespace!(request, namespace);
        let response =
            ContentClient::new(self.channel.clone()).read(request).await.map_err(|error| failed(&error))?;
        let mut chunks = response.into_inner();
        let (mut hash, mut length) = (Sha256::new(), 0_u64);
        while let Some(chunk) = chunks.message().await.map_err(|error| failed(&error))? {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kind(manifest: serde_json::Value) -> Result<ImageKind> {
        serde_json::from_value::<OciManifest>(manifest).unwrap().kind("example/app:1")
    }

    fn layer(media_type: &str, digest: &str) -> serde_json::Value {
        json!({"mediaType": media_type, "digest": digest, "size": 7})
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
