//! WebAssembly containers: rewrites the OCI specification so that `runc` starts the host, which serves the component.
//!
//! User, limits, mounts, environment and seccomp profile stay as the pod has them. They have the same effect as for any
//! other container.

mod app;
mod artifact;
mod cache;
mod compile;
mod layout;
mod missing;
mod origin;
mod rewrite;

use std::path::Path;

pub(crate) use artifact::{ACTION as ARTIFACT_ACTION, run as fetch_artifact};
pub(crate) use compile::{ACTION as COMPILE, run as compile_confined};
pub(crate) use missing::explain as explain_missing;
pub(crate) use origin::{ACTION as IMAGE_ACTION, run as read_image};

use cache::Entry;
use tokio::task::spawn_blocking;

use crate::{
    error::{Error, Result},
    node::Node,
    spec::Spec,
};

/// Files of the node that a container is created with. No shim removes them before this value is dropped.
pub(crate) struct InUse {
    _code: Entry,
    _artifact: Option<Entry>,
}

/// Rewrites `spec` if the container's program is a WebAssembly component. `None` if it is not.
///
/// Compiles the component unless the node's cache has its code. `rootfs` is the mounted root file system, and `id` the
/// container's id.
///
/// # Errors
/// `InvalidArgument` when the image sets what only the pod may set or lacks the component that it names, or when the
/// component cannot be compiled.
pub(crate) async fn prepare(spec: &mut Spec, rootfs: &Path, id: &str, node: &Node) -> Result<Option<InUse>> {
    let Some(mut app) = app::find(spec, rootfs, id, node).await? else { return Ok(None) };
    origin::check(spec, id, node).await?;
    let artifact = app.entry.take();
    // In a thread of its own: reading a large component takes long, and must not delay calls for other containers.
    let (host, directory) = (node.host.clone(), rootfs.to_owned());
    let read = spawn_blocking(move || (app.cache_key(&directory, &host), app)).await;
    let (key, app) = read.map_err(|error| Error::Other(format!("read the component: {error}")))?;
    let key = key?;
    let compile = async |directory: &Path| compile::compile(node, &app, spec, rootfs, directory).await;
    let code = node.cache.find_or_compile(&key, compile).await?;
    rewrite::rewrite(spec, &app, &node.host, &code.path);
    Ok(Some(InUse { _code: code, _artifact: artifact }))
}
