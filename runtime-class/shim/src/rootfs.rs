//! Mounts and unmounts a container's root file system.

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

/// Mounts of one root file system.
const MOUNTS_MAX: usize = 64;
/// Bytes of mount options that the kernel takes (`mount(2)`): one page with the final zero byte.
const OPTIONS_MAX: usize = 4095;

/// Mounts the snapshotter's `mounts` at `target`. Without mounts, the specification names an existing directory, and
/// nothing is mounted.
///
/// # Errors
/// When one mount fails: then all are unmounted again. `InvalidArgument` for more than 64 mounts, or options that do not
/// fit into a page.
pub(crate) fn mount_all(mounts: &[Mount], target: &Path) -> Result<()> {
    if mounts.len() > MOUNTS_MAX {
        return Err(Error::InvalidArgument(format!(
            "root file system {}: {} mounts, at most {MOUNTS_MAX} are possible",
            target.display(),
            mounts.len()
        )));
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

/// Unmounts everything at `target`. A mount that is in use is detached (`MNT_DETACH`).
pub(crate) fn unmount(target: &Path) {
    for _ in 0..MOUNTS_MAX {
        if umount2(target, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_err() {
            return;
        }
    }
}

fn mount_one(request: &Mount, target: &Path) -> Result<()> {
    let (flags, options) = split_options(&request.options);
    let what = || format!("mount root file system {} of type {:?}", target.display(), request.type_);
    let kind = Some(request.type_.as_str()).filter(|kind| !kind.is_empty() && *kind != "bind");
    if options.len() <= OPTIONS_MAX {
        mount(Some(request.source.as_str()), target, kind, flags, Some(options.as_str())).context(what)?;
    } else {
        let (directory, options) = shorten_lowerdir(&options).ok_or_else(|| {
            Error::InvalidArgument(format!(
                "{}: {} bytes of options, at most {OPTIONS_MAX} are possible",
                what(),
                options.len()
            ))
        })?;
        mount_in_directory(
            &directory,
            request.source.clone(),
            target.to_owned(),
            kind.map(str::to_owned),
            flags,
            options,
        )
        .context(what)?;
    }
    // The kernel ignores MS_RDONLY when it creates a bind mount (`mount(2)`): a remount sets it.
    if flags.contains(MsFlags::MS_BIND | MsFlags::MS_RDONLY) {
        mount(None::<&str>, target, None::<&str>, flags | MsFlags::MS_REMOUNT, None::<&str>).context(what)?;
    }
    Ok(())
}

/// Splits mount options into the flags of `mount(2)` and the file system's own options.
fn split_options(options: &[String]) -> (MsFlags, String) {
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

/// Shortens the `lowerdir` paths of an overlay: an image of many layers has options longer than a page. Returns the
/// directory that holds all layers, and the options with paths relative to it. `None` if that is not short enough.
fn shorten_lowerdir(options: &str) -> Option<(PathBuf, String)> {
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

/// Mounts in a thread whose working directory is `directory`, so that `options` may hold relative paths.
fn mount_in_directory(
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
    Ok(mounting.join().map_err(|_| std::io::Error::other("the mounting thread panicked"))??)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(options: &[&str]) -> Vec<String> {
        options.iter().map(|&option| option.to_owned()).collect()
    }

    #[test]
    fn flags_and_options_are_split() {
        let (flags, options) = split_options(&strings(&["index=off", "ro", "nosuid", "lowerdir=/a:/b"]));
        assert_eq!(flags, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID);
        assert_eq!(options, "index=off,lowerdir=/a:/b");
        assert_eq!(
            split_options(&strings(&["rbind", "rw"])),
            (MsFlags::MS_BIND | MsFlags::MS_REC, String::new())
        );
    }

    #[test]
    fn many_layers_fit_into_a_page() {
        let layers: Vec<String> = (0..100)
            .map(|n| format!("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/{n}/fs"))
            .collect();
        let long = format!("workdir=/w,upperdir=/u,lowerdir={}", layers.join(":"));
        assert!(long.len() > OPTIONS_MAX);
        let (directory, options) = shorten_lowerdir(&long).unwrap();
        assert_eq!(
            directory,
            Path::new("/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots")
        );
        assert!(options.starts_with("workdir=/w,upperdir=/u,lowerdir=0/fs:1/fs:"), "{options}");
    }

    #[test]
    fn options_that_cannot_be_shortened() {
        assert_eq!(shorten_lowerdir("workdir=/w"), None);
        let long = vec!["x".repeat(200); 60].join(":");
        assert_eq!(shorten_lowerdir(&format!("lowerdir=/{long}")), None);
    }
}
