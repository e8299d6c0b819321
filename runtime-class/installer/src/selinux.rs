//! SELinux labels of what the installer puts on a node. The types are those of the policy container-selinux.

use std::{fs, io::Write as _, path::Path};

use rustix::{
    fs::{XattrFlags, lgetxattr, lsetxattr},
    io::Errno,
};

use crate::{
    error::{Error, Result},
    node::Node,
    runtime::{HOST, SHIM, STATE},
};

/// The kernel checks a label that is written to this file against its policy. The file exists only where SELinux is on.
const CHECK: &str = "/sys/fs/selinux/context";
const ATTRIBUTE: &str = "security.selinux";
/// The label of a container runtime's programs. The policy gives it to `/usr/local/bin/containerd*`, and so to the shim.
const RUNTIME: &str = "system_u:object_r:container_runtime_exec_t:s0";
/// The label of files that all containers may read, map and start, and that none may write: the host, which is the first process of the
/// pods' containers, and the compiled code.
const SHARED: &str = "system_u:object_r:container_ro_file_t:s0";
/// Bytes of a label. Ours have 46 at most, and a label with many categories some hundred.
const LABEL_MAX: usize = 4096;
/// The mode that the shim gives the directory.
const PRIVATE: u32 = 0o700;

/// Labels the programs and the directory of compiled code, in which the shim's files get the directory's label. Does nothing where
/// SELinux is off, and says so where the policy does not know the labels.
///
/// # Errors
/// When a file cannot be labelled.
pub(crate) fn label(node: &Node, bin_dir: &Path, say: fn(&str)) -> Result<()> {
    let check = Path::new(CHECK);
    if !node.exists(check) {
        return Ok(());
    }
    for label in [RUNTIME, SHARED] {
        // The installer has the right to set a label that the policy does not know, which no process could use then.
        if let Err(error) = is_known(&node.path(check), label) {
            say(&format!(
                "the node's SELinux policy refuses the label {label} ({error}): labels nothing; if SELinux is enforcing, install \
                 container-selinux and restart this pod"
            ));
            return Ok(());
        }
    }
    let state = Path::new(STATE);
    node.make_directory(state, PRIVATE)?;
    set(node, &bin_dir.join(SHIM), RUNTIME, say)?;
    set(node, &bin_dir.join(HOST), SHARED, say)?;
    if set(node, state, SHARED, say)? {
        label_below(node, state)?;
    }
    Ok(())
}

fn is_known(check: &Path, label: &str) -> std::io::Result<()> {
    // One write: the kernel takes each as a label of its own.
    fs::OpenOptions::new().write(true).open(check)?.write_all(format!("{label}\0").as_bytes())
}

/// Labels a file, unless it has the label. Returns whether it had not. Does not follow a symbolic link.
fn set(node: &Node, path: &Path, label: &str, say: fn(&str)) -> Result<bool> {
    let here = node.path(path);
    let failed = |error: Errno| Error::file(path)(error.into());
    let mut found = [0; LABEL_MAX];
    let found = match lgetxattr(&here, ATTRIBUTE, &mut found) {
        Ok(length) => found.get(..length).unwrap_or_default(),
        Err(Errno::NODATA) => &[],
        Err(error) => return Err(failed(error)),
    };
    if found.strip_suffix(b"\0").unwrap_or(found) == label.as_bytes() {
        return Ok(false);
    }
    say(&format!("labels {} {label}", path.display()));
    lsetxattr(&here, ATTRIBUTE, format!("{label}\0").as_bytes(), XattrFlags::empty()).map_err(failed)?;
    Ok(true)
}

/// Labels what a shim wrote before the directory had its label. What is removed meanwhile needs none.
fn label_below(node: &Node, directory: &Path) -> Result<()> {
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let entries = match fs::read_dir(node.path(&directory)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(Error::file(&directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::file(&directory))?;
            let path = directory.join(entry.file_name());
            match set(node, &path, SHARED, |_| {}) {
                Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                directories.push(path);
            }
        }
    }
    Ok(())
}
