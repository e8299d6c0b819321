//! The directories that `files` in the manifest names.
//!
//! - A directory lies below the manifest's directory, with its links followed.
//! - It is on the same mount as the manifest. So a manifest at the root of an image does not reach `/proc`, `/dev`, the
//!   pod's secrets or other volumes.
//! - It has regular files, directories and links only. A guest that opened a pipe would hold a thread of the host. A guest
//!   follows links within the directory only.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

use wasi_http_host_manifest::{Manifest, Mount};

use super::source::AppError;

/// The most entries of all mounted directories. The host reads them all at its start.
const MAX_ENTRIES: usize = 100_000;
/// The mounts of this process (`proc_pid_mountinfo(5)`).
const MOUNTINFO: &str = "/proc/self/mountinfo";
/// What a directory should be, for a message.
const WANTED: &str = "the directory that `files` in the manifest names";

/// Checks the directories that components mount, and replaces each path by the one without links.
///
/// # Errors
/// Names the first directory that a component must not see, or that does not exist: a component would only find out at its
/// first request.
pub fn resolve_mounts(manifest: &mut Manifest) -> Result<(), AppError> {
    let mut mounts = manifest.components.iter_mut().flat_map(|component| &mut component.files).peekable();
    if mounts.peek().is_none() {
        return Ok(());
    }
    let mount_points = mount_points(Path::new(MOUNTINFO))?;
    let mut entries = 0;
    for mount in mounts {
        mount.source = resolve(mount, &mount_points)?;
        check_entries(&mount.source, &mut entries)?;
    }
    Ok(())
}

/// The real path of a mount's source.
fn resolve(mount: &Mount, mount_points: &[PathBuf]) -> Result<PathBuf, AppError> {
    let read = |path: &Path| {
        path.canonicalize().map_err(|cause| AppError::Read {
            path: mount.source.clone(),
            wanted: WANTED,
            cause,
        })
    };
    // The manifest of the current directory has an empty one.
    let below = if mount.below.as_os_str().is_empty() { Path::new(".") } else { &mount.below };
    let (below, source) = (read(below)?, read(&mount.source)?);
    let refused = |reason: String| AppError::Mount { path: mount.source.clone(), reason };
    if !source.starts_with(&below) {
        let (source, below) = (source.display(), below.display());
        return Err(refused(format!("a link leads to {source}, out of the manifest's directory {below}")));
    }
    let inside = |point: &&PathBuf| {
        **point != below
            && point.starts_with(&below)
            && (source.starts_with(point) || point.starts_with(&source))
    };
    match mount_points.iter().find(inside) {
        Some(point) => Err(refused(format!(
            "{} is another mount: a component sees files of the manifest's own mount only",
            point.display()
        ))),
        None => Ok(source),
    }
}

/// Checks that a directory has regular files, directories and links only. Counts them in `entries`.
fn check_entries(directory: &Path, entries: &mut usize) -> Result<(), AppError> {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let unreadable = |cause| AppError::Read { path: directory.clone(), wanted: WANTED, cause };
        for entry in fs::read_dir(&directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let kind = entry.file_type().map_err(unreadable)?;
            *entries += 1;
            if *entries > MAX_ENTRIES {
                let reason = format!("all mounted directories together have more than {MAX_ENTRIES} entries");
                return Err(AppError::Mount { path: directory, reason });
            }
            if kind.is_dir() {
                directories.push(entry.path());
            } else if !kind.is_file() && !kind.is_symlink() {
                let reason = "it is neither a regular file nor a directory".to_owned();
                return Err(AppError::Mount { path: entry.path(), reason });
            }
        }
    }
    Ok(())
}

/// The mount points in the file `mountinfo`. None on systems other than Linux, which have no such file.
///
/// # Errors
/// The file is unreadable, or a line has another form. A mount that the host does not know would not be refused.
fn mount_points(mountinfo: &Path) -> Result<Vec<PathBuf>, AppError> {
    if cfg!(not(target_os = "linux")) {
        return Ok(Vec::new());
    }
    let unreadable = |cause| AppError::Read {
        path: mountinfo.to_owned(),
        wanted: "the mounts of this process, because `files` in the manifest names a directory",
        cause,
    };
    // Not lines of text: an image chooses the names of its directories, and a name need not be UTF-8.
    let bytes = fs::read(mountinfo).map_err(unreadable)?;
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let points = lines.map(|line| line.split(|byte| *byte == b' ').nth(4).map(unescaped));
    let points: Option<Vec<_>> = points.collect();
    points.ok_or_else(|| unreadable(io::Error::other("a line has no mount point")))
}

/// A path of `mountinfo`, in which blanks, tabs, line breaks and backslashes have the form `\040`.
fn unescaped(path: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, others)) = rest.split_first() {
        let (byte, others) = match (first, others) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', others @ ..]) => {
                (((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'), others)
            }
            _ => (*first, others),
        };
        bytes.push(byte);
        rest = others;
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    /// A manifest in a directory of its own that mounts `source`.
    fn manifest(directory: &Path, source: &str) -> Manifest {
        let mut manifest = Manifest::bare(&directory.join("app.wasm"));
        let mount = Mount {
            below: directory.to_owned(),
            source: directory.join(source),
            destination: "/data".to_owned(),
        };
        manifest.components[0].files = vec![mount];
        manifest
    }

    fn resolved(directory: &Path, source: &str) -> Result<PathBuf, String> {
        let mut manifest = manifest(directory, source);
        resolve_mounts(&mut manifest).map_err(|error| error.to_string())?;
        Ok(manifest.components[0].files[0].source.clone())
    }

    #[test]
    fn a_link_within_the_manifests_directory_is_followed_and_one_that_leads_out_refused() {
        let outside = tempfile::tempdir().unwrap();
        let directory = outside.path().join("app");
        fs::create_dir_all(directory.join("assets/deep")).unwrap();
        fs::write(directory.join("assets/deep/file"), "").unwrap();
        fs::create_dir(outside.path().join("secret")).unwrap();
        symlink("assets", directory.join("link")).unwrap();
        for (at, to) in [("relative", "../secret"), ("absolute", "/proc/self"), ("up", "..")] {
            symlink(to, directory.join(at)).unwrap();
        }
        let directory = directory.canonicalize().unwrap();
        for (source, real) in [("assets", "assets"), ("link/deep", "assets/deep"), (".", "")] {
            assert_eq!(resolved(&directory, source).unwrap(), directory.join(real), "{source}");
        }
        for source in ["relative", "absolute", "up", "link/../../secret"] {
            let error = resolved(&directory, source).unwrap_err();
            assert!(error.contains("out of the manifest's directory"), "{source}: {error}");
        }
    }

    #[test]
    fn what_is_neither_a_file_nor_a_directory_is_refused_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir_all(directory.path().join("assets/deep")).unwrap();
        let socket = directory.path().join("assets/deep/socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let error = resolved(directory.path(), "assets").unwrap_err();
        assert!(
            error.contains("assets/deep/socket: it is neither a regular file nor a directory"),
            "{error}"
        );
        fs::remove_file(&socket).unwrap();
        assert!(resolved(directory.path(), "assets").is_ok());
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(resolved(directory.path(), "file").unwrap_err().contains("want the directory"));
    }

    /// The manifest of an image often lies at its root, where other file systems are mounted.
    #[cfg(target_os = "linux")]
    #[test]
    fn another_mount_is_refused() {
        for source in ["proc", "proc/self", "proc/self/root/proc", "."] {
            let error = resolved(Path::new("/"), source).unwrap_err();
            assert!(error.contains("is another mount"), "{source}: {error}");
        }
    }

    /// An image chooses the names of its directories. A volume of the pod that is mounted through a link of the image has
    /// such a name among the mounts.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_mount_after_one_whose_name_is_not_utf_8_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let app = directory.path().canonicalize().unwrap().join("a b\\c");
        fs::create_dir_all(app.join("assets")).unwrap();
        let mountinfo = directory.path().join("mountinfo");
        let path = app.to_str().unwrap().replace('\\', "\\134").replace(' ', "\\040");
        let lines = [
            &b"23 1 8:1 / / rw,relatime - ext4 /dev/root rw\n24 23 0:5 / /\xff\xfe rw - tmpfs tmpfs rw\n25 23 0:6 / "[..],
            path.as_bytes(),
            b"/assets ro - tmpfs tmpfs rw\n",
        ];
        fs::write(&mountinfo, lines.concat()).unwrap();
        let points = mount_points(&mountinfo).unwrap();
        assert_eq!(points.len(), 3);
        let mount = &manifest(&app, "assets").components[0].files[0];
        let error = resolve(mount, &points).unwrap_err().to_string();
        assert!(error.contains("/assets is another mount"), "{error}");
        assert!(resolve(mount, &points[..2]).is_ok());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn no_directory_is_mounted_if_the_mounts_are_not_known() {
        let directory = tempfile::tempdir().unwrap();
        let mountinfo = directory.path().join("mountinfo");
        let error = || mount_points(&mountinfo).unwrap_err().to_string();
        assert!(error().contains("mountinfo"), "{}", error());
        fs::write(&mountinfo, "23 1 8:1 / / rw - ext4 /dev/root rw\n24 23 0:5\n").unwrap();
        assert!(error().contains("a line has no mount point"), "{}", error());
    }

    #[test]
    fn an_escaped_path_is_read() {
        assert_eq!(unescaped(b"/a\\040b\\134"), Path::new("/a b\\"));
        assert_eq!(unescaped(b"/\\134040\\04\\777\\"), Path::new("/\\040\\04\\777\\"));
    }
}
