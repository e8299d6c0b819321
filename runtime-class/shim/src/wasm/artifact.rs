//! Images that are WebAssembly artifacts (OCI): no file system, one layer, which is the component.
//!
//! containerd keeps the layer without unpacking it. It is asked for it over gRPC, by a process that ends afterwards:
//! such images are rare, and a client of that size would stay in every shim's memory.

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

use super::cache::{ARTIFACTS, prune, used};
use crate::{
    error::{Context as _, Error, Result},
    node::Node,
};

/// The shim's own command that fetches.
pub(crate) const ACTION: &str = "wasi-http-artifact";
const CONFIG: &str = "application/vnd.wasm.config.v0+json";
const LAYERS: [&str; 2] =
    ["application/wasm", "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm"];
const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const LIMIT: Duration = Duration::from_secs(60);
/// Bytes of a manifest or an index.
const MANIFEST_MAX: u64 = 4 << 20;
/// Bytes of a component.
const LAYER_MAX: u64 = 512 << 20;

/// The component of container `id`'s image, as a file of the node; `None` if the image is no artifact.
pub(super) async fn fetch(node: &Node, id: &str) -> Result<Option<PathBuf>> {
    let directory = node.cache.join(ARTIFACTS);
    DirBuilder::new().recursive(true).mode(0o755).create(&directory).context(|| directory.display())?;
    let answer = directory.join(format!("{id}.answer"));
    let output = File::create(&answer).context(|| answer.display())?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(ACTION).args([&node.address, &node.namespace, id]).arg(&directory);
    command.env_clear().stdin(Stdio::null()).stdout(output).stderr(Stdio::null());
    let (_, exit) = node.reaper.spawn(&mut command).context(|| "cannot ask containerd for the image")?;
    let ended = timeout(LIMIT + Duration::from_secs(5), exit).await;
    let said = fs::read_to_string(&answer).unwrap_or_default();
    // Best effort: the next question of this container overwrites it.
    let _ = fs::remove_file(&answer);
    match ended {
        Ok(Ok(exit)) if exit.status == 0 => {
            let component = Some(said).filter(|path| !path.is_empty()).map(PathBuf::from);
            if let Some(component) = &component {
                used(component);
                prune(&directory, component);
            }
            Ok(component)
        }
        Ok(Ok(_)) => Err(Error::InvalidArgument(said)),
        _ => Err(Error::Other("containerd does not answer for the image".to_owned())),
    }
}

/// The command [`ACTION`]: prints the component's path, or nothing if the image is no artifact.
pub(crate) fn run(args: &[OsString]) -> Result<String> {
    let [address, namespace, id, directory] = args else {
        return Err(Error::InvalidArgument("wrong arguments".to_owned()));
    };
    let text = |arg: &OsString| arg.to_string_lossy().into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(|| "runtime")?;
    let found = runtime.block_on(async {
        let image = Image::of(&text(address), &text(namespace), &text(id)).await?;
        image.component(Path::new(directory)).await
    })?;
    Ok(found.map(|path| path.to_string_lossy().into_owned()).unwrap_or_default())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    /// An index has these in place of layers.
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

/// What a manifest offers.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// An ordinary image.
    Ordinary,
    /// This layer is the component.
    Layer(String, u64),
}

impl Manifest {
    fn choose(&self, image: &str) -> Result<Choice> {
        let is_component = |layer: &&Descriptor| LAYERS.contains(&layer.media_type.as_str());
        let mut components = self.layers.iter().filter(is_component);
        let configured = self.config.as_ref().is_some_and(|config| config.media_type == CONFIG);
        match (components.next(), components.next()) {
            (Some(layer), None) => Ok(Choice::Layer(layer.digest.clone(), layer.size)),
            (None, _) if !configured => Ok(Choice::Ordinary),
            (None, _) => Err(Error::InvalidArgument(format!(
                "image {image}: none of its {} layers is of type {}",
                self.layers.len(),
                LAYERS.join(" or ")
            ))),
            (Some(_), Some(_)) => Err(Error::InvalidArgument(format!(
                "image {image}: {} layers are WebAssembly, want exactly one",
                2 + components.count()
            ))),
        }
    }
}

/// An image in containerd's stores.
struct Image {
    name: String,
    digest: String,
    namespace: String,
    channel: Channel,
}

impl Image {
    async fn of(address: &str, namespace: &str, id: &str) -> Result<Self> {
        let told =
            |error: &dyn std::fmt::Display| Error::Other(format!("containerd, container {id}: {error}"));
        let channel =
            timeout(LIMIT, containerd_client::connect(address)).await.map_err(|error| told(&error))?;
        let channel = channel.map_err(|error| Error::Other(format!("{address}: {error}")))?;
        let request = GetContainerRequest { id: id.to_owned() };
        let request = with_namespace!(request, namespace);
        let container =
            ContainersClient::new(channel.clone()).get(request).await.map_err(|error| told(&error))?;
        let name = container.into_inner().container.map(|container| container.image).unwrap_or_default();
        let request = with_namespace!(GetImageRequest { name: name.clone() }, namespace);
        let image = ImagesClient::new(channel.clone()).get(request).await.map_err(|error| told(&error))?;
        let target = image.into_inner().image.and_then(|image| image.target);
        let digest = target.map(|target| target.digest).unwrap_or_default();
        Ok(Self { name, digest, namespace: namespace.to_owned(), channel })
    }

    async fn component(&self, directory: &Path) -> Result<Option<PathBuf>> {
        let mut manifest = self.manifest(&self.digest).await?;
        if let [only] = manifest.manifests.as_slice() {
            manifest = self.manifest(&only.digest.clone()).await?;
        } else if !manifest.manifests.is_empty() {
            manifest = self.pick(&manifest).await?;
        }
        match manifest.choose(&self.name)? {
            Choice::Ordinary => Ok(None),
            Choice::Layer(digest, size) => self.save(&digest, size, directory).await.map(Some),
        }
    }

    /// The first artifact of an index.
    async fn pick(&self, index: &Manifest) -> Result<Manifest> {
        for descriptor in index.manifests.iter().filter(|entry| !INDEXES.contains(&entry.media_type.as_str()))
        {
            // Manifests of other platforms may not have been fetched.
            let Ok(manifest) = self.manifest(&descriptor.digest).await else { continue };
            if !matches!(manifest.choose(&self.name), Ok(Choice::Ordinary)) {
                return Ok(manifest);
            }
        }
        Ok(Manifest { config: None, layers: Vec::new(), manifests: Vec::new() })
    }

    async fn manifest(&self, digest: &str) -> Result<Manifest> {
        let mut text = Vec::new();
        self.read(digest, MANIFEST_MAX, &mut text).await?;
        serde_json::from_slice(&text)
            .map_err(|error| Error::InvalidArgument(format!("image {}, {digest}: {error}", self.name)))
    }

    /// Writes the layer to a file named by its digest, unless it is there.
    async fn save(&self, digest: &str, size: u64, directory: &Path) -> Result<PathBuf> {
        let hex = digest.strip_prefix("sha256:").filter(|hex| hex.chars().all(|c| c.is_ascii_hexdigit()));
        let hex =
            hex.ok_or_else(|| Error::InvalidArgument(format!("image {}: digest {digest}", self.name)))?;
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
            // The error that counts is the one that is returned.
            let _ = fs::remove_file(&temporary);
        }
        saved.map(|()| path)
    }

    /// Copies content, and checks that it is what its digest says.
    async fn read(&self, digest: &str, limit: u64, to: &mut impl std::io::Write) -> Result<()> {
        let told = |reason: &dyn std::fmt::Display| {
            Error::Other(format!("image {}, content {digest}: {reason}", self.name))
        };
        let namespace = &self.namespace;
        let request = ReadContentRequest { digest: digest.to_owned(), offset: 0, size: 0 };
        let request = with_namespace!(request, namespace);
        let answer =
            ContentClient::new(self.channel.clone()).read(request).await.map_err(|error| told(&error))?;
        let mut chunks = answer.into_inner();
        let (mut hash, mut length) = (Sha256::new(), 0_u64);
        while let Some(chunk) = chunks.message().await.map_err(|error| told(&error))? {
            length = length.saturating_add(chunk.data.len() as u64);
            if length > limit {
                return Err(told(&format!("more than {limit} bytes")));
            }
            hash.update(&chunk.data);
            to.write_all(&chunk.data).map_err(|error| told(&error))?;
        }
        let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if digest.strip_prefix("sha256:") == Some(&hex) { Ok(()) } else { Err(told(&format!("is {hex}"))) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn choose(manifest: serde_json::Value) -> Result<Choice> {
        serde_json::from_value::<Manifest>(manifest).unwrap().choose("example/app:1")
    }

    fn layer(kind: &str, digest: &str) -> serde_json::Value {
        json!({"mediaType": kind, "digest": digest, "size": 7})
    }

    #[test]
    fn both_types_of_layer_are_components() {
        for kind in LAYERS {
            let manifest = json!({"config": layer(CONFIG, "sha256:c"), "layers": [layer(kind, "sha256:a")]});
            assert_eq!(choose(manifest).unwrap(), Choice::Layer("sha256:a".to_owned(), 7));
        }
    }

    #[test]
    fn other_layers_beside_the_component_do_not_matter() {
        let layers = json!([layer("text/plain", "sha256:t"), layer(LAYERS[0], "sha256:a")]);
        let manifest = json!({"config": layer(CONFIG, "sha256:c"), "layers": layers});
        assert_eq!(choose(manifest).unwrap(), Choice::Layer("sha256:a".to_owned(), 7));
    }

    #[test]
    fn an_ordinary_image_is_none() {
        let config = layer("application/vnd.oci.image.config.v1+json", "sha256:c");
        let layers = json!([layer("application/vnd.oci.image.layer.v1.tar+gzip", "sha256:l")]);
        assert_eq!(choose(json!({"config": config, "layers": layers})).unwrap(), Choice::Ordinary);
    }

    #[test]
    fn two_components_are_refused_by_name_and_number() {
        let layers =
            json!([layer(LAYERS[0], "sha256:a"), layer(LAYERS[1], "sha256:b"), layer(LAYERS[0], "sha256:d")]);
        let error =
            choose(json!({"config": layer(CONFIG, "sha256:c"), "layers": layers})).unwrap_err().to_string();
        assert!(error.contains("example/app:1") && error.contains("3 layers"), "{error}");
    }

    #[test]
    fn an_artifact_without_a_component_is_refused() {
        let layers = json!([layer("text/plain", "sha256:t")]);
        let error =
            choose(json!({"config": layer(CONFIG, "sha256:c"), "layers": layers})).unwrap_err().to_string();
        assert!(error.contains("example/app:1") && error.contains("none of its 1 layers"), "{error}");
    }
}
