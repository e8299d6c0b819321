//! Images for the tests: OCI layouts in a tar archive.

use std::{collections::BTreeMap, fs, path::PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::programs::required;

pub(crate) const GISTS: &str = "localhost/gists:test";
pub(crate) const BUSYBOX: &str = "localhost/busybox:test";
pub(crate) const ARTIFACT: &str = "localhost/artifact:test";

const OCI: &str = "application/vnd.oci.image";

/// Files of an archive: path, mode and content.
pub(crate) type ArchiveFiles = BTreeMap<String, (u32, Vec<u8>)>;

pub(crate) struct Image {
    name: String,
    layout: ArchiveFiles,
}

impl Image {
    /// An ordinary image with `files` in one layer.
    pub(crate) fn ordinary(name: &str, files: &ArchiveFiles, entrypoint: &str) -> Self {
        Self::configured(name, files, &json!({"Entrypoint": [entrypoint], "Env": ["PATH=/bin"]}))
    }

    /// As [`Self::ordinary`], with what the image says about its program.
    pub(crate) fn configured(name: &str, files: &ArchiveFiles, program: &Value) -> Self {
        let layer = tar(files);
        let config = json!({
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "os": "linux",
            "config": program,
            "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
        });
        let kind = format!("{OCI}.layer.v1.tar");
        Self::new(name, &format!("{OCI}.config.v1+json"), &config, &[(kind.as_str(), layer)])
    }

    /// An image with a configuration and layers, each with its media type.
    pub(crate) fn new(name: &str, config_type: &str, config: &Value, layers: &[(&str, Vec<u8>)]) -> Self {
        let mut layout = ArchiveFiles::new();
        let mut add = |kind: &str, content: Vec<u8>| {
            let digest = digest(&content);
            let descriptor = json!({"mediaType": kind, "digest": digest, "size": content.len()});
            layout.insert(format!("blobs/{}", digest.replace(':', "/")), (0o644, content));
            descriptor
        };
        let config = add(config_type, config.to_string().into_bytes());
        let layers: Vec<Value> = layers.iter().map(|(kind, layer)| add(kind, layer.clone())).collect();
        let kind = format!("{OCI}.manifest.v1+json");
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
        let mut manifest = add(&kind, manifest.to_string().into_bytes());
        manifest["annotations"] =
            json!({"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name});
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        layout.insert("index.json".to_owned(), (0o644, index.to_string().into_bytes()));
        layout.insert("oci-layout".to_owned(), (0o644, b"{\"imageLayoutVersion\":\"1.0.0\"}".to_vec()));
        Self { name: name.to_owned(), layout }
    }

    /// The archive for `ctr images import`.
    pub(crate) fn tar(&self) -> Vec<u8> {
        assert!(!self.name.is_empty());
        tar(&self.layout)
    }
}

fn digest(content: &[u8]) -> String {
    let hex: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A tar archive in the POSIX ustar format.
fn tar(files: &ArchiveFiles) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, (mode, content)) in files {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
        put(0, path);
        put(100, &format!("{mode:07o}"));
        put(108, "0000000");
        put(116, "0000000");
        put(124, &format!("{:011o}", content.len()));
        put(136, "00000000000");
        put(148, "        ");
        put(156, "0");
        put(257, "ustar");
        put(263, "00");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

/// The component under test.
pub(crate) fn gists_wasm() -> Vec<u8> {
    fs::read(required("GISTS_WASM", "gists.wasm")).unwrap()
}

/// An image `FROM scratch` with the component and its `spin.toml`. `/broken.wasm` cannot be compiled.
pub(crate) fn gists() -> Image {
    Image::ordinary(GISTS, &gists_files(), "/spin.toml")
}

/// The files of [`gists`].
pub(crate) fn gists_files() -> ArchiveFiles {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let manifest = fs::read_to_string(root.join("spin.toml")).unwrap();
    let manifest = manifest.replace("target/wasm32-wasip2/dist/gists.wasm", "gists.wasm");
    let files = [
        ("gists.wasm".to_owned(), (0o644, gists_wasm())),
        ("spin.toml".to_owned(), (0o644, manifest.into_bytes())),
        ("broken.wasm".to_owned(), (0o644, b"\0asm but not really".to_vec())),
    ];
    files.into()
}

/// An image with a shell and its tools.
pub(crate) fn busybox() -> Image {
    let busybox = fs::read(required("BUSYBOX", "busybox")).unwrap();
    let files =
        [("bin/busybox".to_owned(), (0o755, busybox.clone())), ("bin/sh".to_owned(), (0o755, busybox))];
    Image::ordinary(BUSYBOX, &files.into(), "/bin/sh")
}

/// A WebAssembly artifact with `layers`: media type and content.
pub(crate) fn artifact(layers: &[(&str, Vec<u8>)]) -> Image {
    let digests: Vec<String> = layers.iter().map(|(_, layer)| digest(layer)).collect();
    let config = json!({"architecture": "wasm", "os": "wasip2", "layerDigests": digests});
    Image::new(ARTIFACT, "application/vnd.wasm.config.v0+json", &config, layers)
}
