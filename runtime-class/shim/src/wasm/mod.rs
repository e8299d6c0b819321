//! WebAssembly containers: rewrites the OCI specification so that `runc` starts the host, which serves the component.
//!
//! User, limits, mounts, environment and seccomp profile stay as the pod has them. They have the same effect as for any
//! other container.

mod app;
mod artifact;
mod cache;
mod ceiling;
mod compile;
mod exact;
mod layout;
mod missing;
mod mounts;
mod origin;
mod rewrite;
mod syscalls;

use std::path::{Path, PathBuf};

pub(crate) use artifact::{ACTION as ARTIFACT_ACTION, run as fetch_artifact};
pub(crate) use compile::{
    ACTION as COMPILE, SANDBOX_ACTION as COMPILE_SANDBOX, run as compile, run_sandboxed,
};
pub(crate) use missing::explain as explain_missing;
pub(crate) use origin::{ACTION as IMAGE_ACTION, run as read_image};

use cache::Entry;
use mounts::BindMount;
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
    image: String,
    mounts: Vec<BindMount>,
}

impl InUse {
    /// Checks, before the container's init process `pid` executes its program, that the process will find what was mounted.
    ///
    /// # Errors
    /// `InvalidArgument` with the image and the path.
    pub(crate) fn check_mounted(&self, pid: u32) -> Result<()> {
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        mounts::check_mounted(&root, &self.mounts).map_err(named(&format!("image {}", self.image)))
    }
}

/// Rewrites `spec` if the container's program is a WebAssembly component. `None` if it is not.
///
/// Compiles each component unless the node's cache has its code. `rootfs` is the mounted root file system, and `id` the
/// container's id.
///
/// # Errors
/// `InvalidArgument` when the image sets what only the pod may set, or the pod what only the node's operator may set; when
/// the image has anything where the shim mounts, or lacks the component that it names, or the component cannot be compiled.
pub(crate) async fn prepare(spec: &mut Spec, rootfs: &Path, id: &str, node: &Node) -> Result<Option<InUse>> {
    if !app::is_possible(spec, rootfs) {
        return Ok(None);
    }
    // Soon, because the image's name may lead to another image later.
    origin::check(spec, id, node).await?;
    let Some(mut app) = app::find(spec, rootfs, id, node).await? else { return Ok(None) };
    ceiling::add(spec, &app.flags, node.outbound_cidr_ceiling.as_deref())?;
    let image = format!("image {}", spec.image());
    mounts::check_image(rootfs).map_err(named(&image))?;
    let artifact = app.entry.take();
    // In a thread of its own: reading a large component takes long, and must not delay calls for other containers.
    let directory = rootfs.to_owned();
    let read = spawn_blocking(move || (app.components(&directory), app)).await;
    let (components, app) = read.map_err(|error| Error::Other(format!("read the component: {error}")))?;
    let host = cache::host_version(&node.host)?;
    let mut codes = Vec::new();
    for component in components.map_err(named(&image))? {
        let compile = async |directory: &Path, slot: &cache::Slot| {
            compile::compile(node, &component, directory, slot).await
        };
        let code = node.cache.find_or_compile(&component.digest, &host, compile).await;
        codes.push(code.map_err(named(&format!("{image}: {} cannot be compiled", component.name)))?);
    }
    let code = node.cache.gather(codes).await?;
    let mounts = rewrite::rewrite(spec, &app, &node.host, &code.path);
    Ok(Some(InUse { _code: code, _artifact: artifact, image: spec.image().to_owned(), mounts }))
}

/// Puts `what` before the reason of an `InvalidArgument`.
fn named(what: &str) -> impl Fn(Error) -> Error + use<'_> {
    move |error| match error {
        Error::InvalidArgument(reason) => Error::InvalidArgument(format!("{what}: {reason}")),
        error => error,
    }
}
