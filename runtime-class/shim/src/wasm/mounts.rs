//! Checks that the paths in the container of what the shim mounts lead to what the shim mounts.
//!
//! The image is untrusted, and may have anything at these paths. `runc` resolves a path when it mounts, and the kernel
//! resolves the path of the program again when it executes it. With links in between (such as links to `/proc/self/cwd`), these
//! are two places, and the second one may be a program of the image in place of the host.

use std::{
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use super::layout::{ARTIFACT, CODE, DIRECTORY, HOST};
use crate::error::{Error, Result};

/// A file or directory of the node that the shim mounts.
#[derive(Debug)]
pub(super) struct BindMount {
    /// Path on the node.
    pub(super) source: PathBuf,
    /// Path in the container.
    pub(super) destination: &'static str,
}

/// Refuses an image with anything in the shim's directory, except what `runc` left there when it mounted into the same root file
/// system before: empty files and an empty directory.
///
/// # Errors
/// `InvalidArgument` with the path.
pub(super) fn check_image(rootfs: &Path) -> Result<()> {
    let at = |path: &str| rootfs.join(path.trim_start_matches('/'));
    let refused = |what: &dyn std::fmt::Display| {
        Error::InvalidArgument(format!(
            "it has {what}, which is the runtime's own place: remove the path from the image"
        ))
    };
    let directory = at(DIRECTORY);
    match fs::symlink_metadata(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if metadata.is_dir() => {}
        _ => return Err(refused(&DIRECTORY)),
    }
    for entry in fs::read_dir(&directory).map_err(|_| refused(&DIRECTORY))? {
        let path = entry.map_err(|_| refused(&DIRECTORY))?.path();
        let is_left = fs::symlink_metadata(&path).is_ok_and(|metadata| {
            if path == at(CODE) {
                metadata.is_dir() && fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none())
            } else {
                [HOST, ARTIFACT].iter().any(|file| path == at(file))
                    && metadata.is_file()
                    && metadata.len() == 0
            }
        });
        if !is_left {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            return Err(refused(&format_args!("{DIRECTORY}/{}", name.escape_debug())));
        }
    }
    Ok(())
}

/// Checks that each path of `mounts` below `root` is, without any link, what was mounted there. `root` is the root directory of
/// the container's init process. Volumes are mounted by then, which may have what the image has not.
///
/// # Errors
/// `InvalidArgument` with the path.
pub(super) fn check_mounted(root: &Path, mounts: &[BindMount]) -> Result<()> {
    for BindMount { source, destination } in mounts {
        let is_same = || -> io::Result<bool> {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let root = rustix::fs::open(root, flags | OFlags::DIRECTORY, Mode::empty())?;
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS;
            let found = File::from(rustix::fs::openat2(root, *destination, flags, Mode::empty(), resolve)?);
            let (found, mounted) = (found.metadata()?, fs::metadata(source)?);
            Ok((found.dev(), found.ino()) == (mounted.dev(), mounted.ino()))
        };
        let reason = match is_same() {
            Ok(true) => continue,
            Ok(false) => "another file is there".to_owned(),
            Err(error) => error.to_string(),
        };
        return Err(Error::InvalidArgument(format!(
            "{destination} in the container is not {}, which the runtime mounts there ({reason}): remove what the image or a \
             volume has in {DIRECTORY}",
            source.display()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn refusal(rootfs: &Path) -> String {
        check_image(rootfs).unwrap_err().to_string()
    }

    #[test]
    fn an_image_with_anything_in_the_shims_directory_is_refused() {
        let image = tempfile::tempdir().unwrap();
        let (rootfs, own) = (image.path(), image.path().join(".wasi-http"));
        symlink("/proc/self/cwd/w", &own).unwrap();
        assert!(refusal(rootfs).starts_with("it has /.wasi-http, which is the runtime's own place"));
        fs::remove_file(&own).unwrap();
        fs::write(&own, "").unwrap();
        assert!(refusal(rootfs).starts_with("it has /.wasi-http, "));
        fs::remove_file(&own).unwrap();
        fs::create_dir(&own).unwrap();
        for name in ["wasi-http-host", "app.wasm", "cache", "other"] {
            symlink("/proc/self/cwd/w", own.join(name)).unwrap();
            assert!(refusal(rootfs).starts_with(&format!("it has /.wasi-http/{name}, ")));
            fs::remove_file(own.join(name)).unwrap();
            if name != "cache" {
                fs::write(own.join(name), "x").unwrap();
                assert!(refusal(rootfs).starts_with(&format!("it has /.wasi-http/{name}, ")));
                fs::remove_file(own.join(name)).unwrap();
            }
        }
        fs::create_dir_all(own.join("cache/x")).unwrap();
        assert!(refusal(rootfs).starts_with("it has /.wasi-http/cache, "));
    }

    #[test]
    fn what_runc_leaves_in_a_root_file_system_is_accepted() {
        let image = tempfile::tempdir().unwrap();
        check_image(image.path()).unwrap();
        fs::create_dir_all(image.path().join(".wasi-http/cache")).unwrap();
        fs::write(image.path().join(".wasi-http/wasi-http-host"), "").unwrap();
        fs::write(image.path().join(".wasi-http/app.wasm"), "").unwrap();
        check_image(image.path()).unwrap();
    }

    #[test]
    fn only_what_was_mounted_may_be_found_and_through_no_link() {
        let directory = tempfile::tempdir().unwrap();
        let (root, node) = (directory.path().join("root"), directory.path().join("host"));
        fs::create_dir_all(root.join("w")).unwrap();
        fs::create_dir(root.join(".wasi-http")).unwrap();
        fs::write(&node, "the host").unwrap();
        fs::hard_link(&node, root.join("w/wasi-http-host")).unwrap();
        let mounts = [BindMount { source: node.clone(), destination: HOST }];
        let own = root.join(".wasi-http/wasi-http-host");
        let refused = |reason: &str| {
            let error = check_mounted(&root, &mounts).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{HOST} in the container is not ")), "{error}");
            assert!(error.contains(reason), "{error}");
        };
        refused("No such file");
        fs::write(&own, "the host").unwrap();
        refused("another file is there");
        fs::remove_file(&own).unwrap();
        // Even where the link leads to the right file now.
        symlink("../w/wasi-http-host", &own).unwrap();
        refused("symbolic links");
        fs::remove_file(&own).unwrap();
        fs::hard_link(&node, &own).unwrap();
        check_mounted(&root, &mounts).unwrap();
        fs::remove_dir_all(root.join(".wasi-http")).unwrap();
        symlink("w", root.join(".wasi-http")).unwrap();
        refused("symbolic links");
    }
}
