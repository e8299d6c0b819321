//! A container's root file system.

use std::{fs::DirBuilder, io::ErrorKind, os::unix::fs::DirBuilderExt as _, path::Path};

use containerd_shim::{protos::api::Mount, util::mount_rootfs};
use nix::mount::{MntFlags, umount2};

use crate::error::{Context as _, Error, Result};

/// Mounts that may lie on each other.
const MOUNTS_MAX: usize = 64;

/// Mounts what containerd's snapshotter says at `target`. Without mounts, the specification names a directory.
pub(crate) async fn mount(mounts: &[Mount], target: &Path) -> Result<()> {
    if mounts.len() > MOUNTS_MAX {
        return Err(Error::InvalidArgument(format!("{} mounts for a root file system", mounts.len())));
    }
    if mounts.is_empty() {
        return Ok(());
    }
    match DirBuilder::new().mode(0o711).create(target) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
        made => made.context(|| target.display())?,
    }
    for mount in mounts {
        if let Err(error) = mount_rootfs(mount, target).await {
            unmount(target);
            return Err(Error::Other(format!("root file system {}: {error}", target.display())));
        }
    }
    Ok(())
}

/// Unmounts all that is mounted at `target`, even if it is in use.
pub(crate) fn unmount(target: &Path) {
    for _ in 0..MOUNTS_MAX {
        if umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_err() {
            return;
        }
    }
}
