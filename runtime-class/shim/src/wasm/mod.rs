//! WebAssembly containers: the specification is rewritten so that `runc` starts our host, which serves the component.
//! All else (user, limits, mounts, environment, seccomp) stays as the pod has it, and means what it means for any
//! other container.

mod app;
mod artifact;
mod cache;
mod compile;
mod rewrite;

use std::path::Path;

pub(crate) use artifact::{ACTION as ARTIFACT_ACTION, run as fetch_artifact};
pub(crate) use compile::{ACTION as COMPILE, run as compile_confined};

use tokio::task::spawn_blocking;

use crate::{
    error::{Error, Result},
    node::Node,
    spec::Spec,
};

/// Where the container sees what the shim adds.
const DIRECTORY: &str = "/.wasi-http";
/// The program that serves.
const HOST: &str = "/.wasi-http/wasi-http-host";
/// The compiled code of this one component.
const CACHE: &str = "/.wasi-http/cache";
/// The component, where the image is an artifact without a file system.
const ARTIFACT: &str = "/.wasi-http/app.wasm";

/// Rewrites `spec` if its container is a WebAssembly one, and says whether it is.
///
/// # Errors
/// When the image holds no component after all, or one that cannot be compiled.
pub(crate) async fn prepare(spec: &mut Spec, rootfs: &Path, id: &str, node: &Node) -> Result<bool> {
    let Some(app) = app::find(spec, rootfs, id, node).await? else { return Ok(false) };
    // A large component takes long to read, and the pod's other containers are not to wait for that.
    let host = node.host.clone();
    let read = spawn_blocking(move || (app.key(&host), app)).await;
    let (key, app) = read.map_err(|error| Error::Other(format!("reading the component: {error}")))?;
    let key = key?;
    let code = cache::compiled(&node.cache, &key, async |directory| {
        compile::compile(node, &app, spec, rootfs, directory).await
    })
    .await?;
    rewrite::rewrite(spec, &app, &node.host, &code);
    Ok(true)
}
