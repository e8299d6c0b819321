//! A container's root file system.

use std::{
    fs::DirBuilder,
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    thread,
};

use containerd_shim_protos::api::Mount;
use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
    unistd::chdir,
};

use crate::error::{Context as _, Error, Result};

/// Mounts that may lie on each other.
const MOUNTS_MAX: usize = 64;
/// Bytes of options that the kernel takes: a page, of which the last byte ends them.
const OPTIONS_MAX: usize = 4095;

/// Mounts what containerd's snapshotter says at `target`. Without mounts, the specification names a directory.
pub(crate) fn mount_all(mounts: &[Mount], target: &Path) -> Result<()> {
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
        let at = if mount.target.is_empty() {
            target.to_owned()
        } else {
            target.join(mount.target.trim_start_matches('/'))
        };
        if let Err(error) = mount_one(mount, &at) {
            unmount(target);
            return Err(error);
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

fn mount_one(wanted: &Mount, target: &Path) -> Result<()> {
    let (flags, options) = split(&wanted.options);
    let what = || format!("root file system {} of {}", target.display(), wanted.type_);
    let kind = Some(wanted.type_.as_str()).filter(|kind| !kind.is_empty() && *kind != "bind");
    if options.len() <= OPTIONS_MAX {
        mount(Some(wanted.source.as_str()), target, kind, flags, Some(options.as_str())).context(what)?;
    } else {
        let (directory, options) = shorten(&options).ok_or_else(|| {
            Error::InvalidArgument(format!("{}: {} bytes of options", what(), options.len()))
        })?;
        mount_from(
            &directory,
            wanted.source.clone(),
            target.to_owned(),
            kind.map(str::to_owned),
            flags,
            options,
        )
        .context(what)?;
    }
    // A bind mount takes no other flags before it is there.
    if flags.contains(MsFlags::MS_BIND | MsFlags::MS_RDONLY) {
        mount(None::<&str>, target, None::<&str>, flags | MsFlags::MS_REMOUNT, None::<&str>).context(what)?;
    }
    Ok(())
}

/// Flags of the call, and options of the file system.
fn split(options: &[String]) -> (MsFlags, String) {
    let mut flags = MsFlags::empty();
    let mut rest = Vec::new();
    for option in options {
        match option.as_str() {
            "bind" => flags |= MsFlags::MS_BIND,
            "rbind" => flags |= MsFlags::MS_BIND | MsFlags::MS_REC,
            "ro" => flags |= MsFlags::MS_RDONLY,
            "rw" => flags &= !MsFlags::MS_RDONLY,
            "nosuid" => flags |= MsFlags::MS_NOSUID,
            "nodev" => flags |= MsFlags::MS_NODEV,
            "noexec" => flags |= MsFlags::MS_NOEXEC,
            "noatime" => flags |= MsFlags::MS_NOATIME,
            "nodiratime" => flags |= MsFlags::MS_NODIRATIME,
            "relatime" => flags |= MsFlags::MS_RELATIME,
            "sync" => flags |= MsFlags::MS_SYNCHRONOUS,
            "defaults" | "suid" | "dev" | "exec" => {}
            other => rest.push(other),
        }
    }
    (flags, rest.join(","))
}

/// An image of many layers has options longer than a page: told from the directory that all layers lie in, their paths
/// are short. Returns that directory and the options.
fn shorten(options: &str) -> Option<(PathBuf, String)> {
    let lower = options.split(',').find_map(|option| option.strip_prefix("lowerdir="))?;
    let mut paths = lower.split(':').map(Path::new);
    let mut common = paths.next()?.parent()?.to_owned();
    for path in paths {
        while !path.starts_with(&common) {
            common = common.parent()?.to_owned();
        }
    }
    let short: Option<Vec<&str>> =
        lower.split(':').map(|path| Path::new(path).strip_prefix(&common).ok()?.to_str()).collect();
    let options: Vec<String> = options
        .split(',')
        .map(|option| match option.strip_prefix("lowerdir=") {
            Some(_) => Some(format!("lowerdir={}", short.as_ref()?.join(":"))),
            None => Some(option.to_owned()),
        })
        .collect::<Option<_>>()?;
    let options = options.join(",");
    (options.len() <= OPTIONS_MAX).then_some((common, options))
}

/// In a thread with a working directory of its own.
fn mount_from(
    directory: &Path,
    source: String,
    target: PathBuf,
    kind: Option<String>,
    flags: MsFlags,
    options: String,
) -> std::io::Result<()> {
    let directory = directory.to_owned();
    let mounting = thread::spawn(move || {
        unshare(CloneFlags::CLONE_FS)?;
        chdir(&directory)?;
        mount(Some(source.as_str()), &target, kind.as_deref(), flags, Some(options.as_str()))
    });
    Ok(mounting.join().map_err(|_| std::io::Error::other("the thread ended"))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(options: &[&str]) -> Vec<String> {
        options.iter().map(|&option| option.to_owned()).collect()
    }

    #[test]
    fn flags_and_options_are_told_apart() {
        let (flags, options) = split(&strings(&["index=off", "ro", "nosuid", "lowerdir=/a:/b"]));
        assert_eq!(flags, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID);
        assert_eq!(options, "index=off,lowerdir=/a:/b");
        assert_eq!(split(&strings(&["rbind", "rw"])), (MsFlags::MS_BIND | MsFlags::MS_REC, String::new()));
    }

    #[test]
    fn many_layers_fit_into_a_page() {
        let layers: Vec<String> = (0..100)
            .map(|n| format!("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/{n}/fs"))
            .collect();
        let long = format!("workdir=/w,upperdir=/u,lowerdir={}", layers.join(":"));
        assert!(long.len() > OPTIONS_MAX);
        let (directory, options) = shorten(&long).unwrap();
        assert_eq!(
            directory,
            Path::new("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots")
        );
        assert!(options.starts_with("workdir=/w,upperdir=/u,lowerdir=0/fs:1/fs:"), "{options}");
    }

    #[test]
    fn what_cannot_be_shortened_is_not() {
        assert_eq!(shorten("workdir=/w"), None);
        let long = vec!["x".repeat(200); 60].join(":");
        assert_eq!(shorten(&format!("lowerdir=/{long}")), None);
    }
}
