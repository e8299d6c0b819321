//! OCI layouts of the image and of the artifact, which no node has yet.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cluster_e2e::fail;
use ring::digest::{SHA256, digest};
use serde_json::Value;
use testkit::paths;

/// The tag of the layouts.
pub(crate) const TAG: &str = "pulled";
pub(crate) const IMAGE: &str = "github-gists-api";
pub(crate) const ARTIFACT: &str = "github-gists-api-artifact";

/// The digest of a content, as registries write it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    digest(&SHA256, bytes).as_ref().iter().fold("sha256:".to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The component with a custom section that no earlier run has written. Otherwise the node could have the layers already.
fn component(directory: &Path) -> PathBuf {
    const NAME: &[u8] = b"test-run";
    let built = paths::built("GISTS_WASM", "wasm32-wasip2/dist/gists.wasm", "make build");
    let mut wasm = fs::read(built).unwrap();
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let content = [&[u8::try_from(NAME.len()).unwrap()], NAME, &since.as_nanos().to_le_bytes()].concat();
    // Section 0 is a custom section (component model, Binary.md).
    wasm.extend([0, u8::try_from(content.len()).unwrap()]);
    wasm.extend(content);
    let path = directory.join("gists.wasm");
    fs::write(&path, wasm).unwrap();
    path
}

/// Makes OCI layouts of the image and of the artifact. Returns their directory. `name` is unique among the tests.
pub(crate) fn layouts(name: &str) -> PathBuf {
    let directory = paths::scratch(name);
    let made = Command::new(paths::workspace().join("scripts/image"))
        .args([IMAGE, ARTIFACT, "--tag", TAG, "--component"])
        .arg(component(&directory))
        .arg("--output")
        .arg(&directory)
        .output()
        .unwrap_or_else(|error| fail(format!("scripts/image: {error}")));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    directory
}

/// A blob of a layout.
pub(crate) fn blob(layout: &Path, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    fs::read(layout.join("blobs").join(digest.replace(':', "/"))).unwrap()
}

/// The manifest in a layout; of an index, the first one.
pub(crate) fn manifest(layout: &Path) -> Value {
    let mut document: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    while let Some(first) = document.get("manifests").and_then(|all| all.get(0)) {
        document = serde_json::from_slice(&blob(layout, first)).unwrap();
    }
    document
}

/// The digest of the first layer.
pub(crate) fn layer(layout: &Path) -> String {
    manifest(layout)["layers"][0]["digest"].as_str().unwrap().to_owned()
}
