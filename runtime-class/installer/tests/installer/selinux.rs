//! SELinux labels, on a fake tree: the attributes are real, and the kernel does not look at them.

use std::{fs, os::unix::fs::symlink, path::Path};

use rustix::fs::{XattrFlags, lgetxattr, lsetxattr};

use crate::nodes::{ETC, TestNode, fixture};

const SHIM: &str = "/usr/local/bin/containerd-shim-wasi-http-v1";
const HOST: &str = "/usr/local/bin/wasi-http-host";
const STATE: &str = "/var/lib/wasi-http";
const CHECK: &str = "/sys/fs/selinux/context";
const ATTRIBUTE: &str = "security.selinux";
const RUNTIME: &str = "system_u:object_r:container_runtime_exec_t:s0";
const SHARED: &str = "system_u:object_r:container_ro_file_t:s0";

fn set(path: &Path, label: &str) -> bool {
    lsetxattr(path, ATTRIBUTE, label.as_bytes(), XattrFlags::empty()).is_ok()
}

/// The label of a file on the node; `None` if it has none.
fn label(node: &TestNode, path: &str) -> Option<String> {
    let mut found = [0; 256];
    let length = lgetxattr(node.here(path), ATTRIBUTE, &mut found).ok()?;
    Some(String::from_utf8_lossy(&found[..length]).trim_end_matches('\0').to_owned())
}

/// A node whose kernel has SELinux, with compiled code of an earlier shim. `None` if this test may not set labels.
fn node() -> Option<TestNode> {
    let node = TestNode::with(&[
        (ETC, &fixture("containerd-1.7-kubeadm.toml")),
        (CHECK, ""),
        ("/var/lib/wasi-http/cache/ab/code", "x"),
    ]);
    let label_of_the_system = "system_u:object_r:var_lib_t:s0\0";
    let may = ["", "/cache", "/cache/ab", "/cache/ab/code"]
        .iter()
        .all(|below| set(&node.here(&format!("{STATE}{below}")), label_of_the_system));
    if !may {
        println!("NOT RUN: this user may not set {ATTRIBUTE} on this file system: run the test as root");
    }
    may.then_some(node)
}

#[test]
fn programs_and_compiled_code_have_labels_that_containers_may_use() {
    let Some(node) = node() else { return };
    // A link in the directory must not lead the installer out of the directory.
    node.write("/etc/shadow", "");
    symlink("../../../../etc/shadow", node.here("/var/lib/wasi-http/cache/link")).expect("a link");
    node.install().expect("installed");
    let expected = |node: &TestNode| {
        assert_eq!(label(node, SHIM).as_deref(), Some(RUNTIME));
        for path in [
            HOST,
            STATE,
            "/var/lib/wasi-http/cache",
            "/var/lib/wasi-http/cache/ab",
            "/var/lib/wasi-http/cache/ab/code",
        ] {
            assert_eq!(label(node, path).as_deref(), Some(SHARED), "{path}");
        }
    };
    expected(&node);
    assert_eq!(label(&node, "/etc/shadow"), None);
    // The kernel's policy is asked about each label first. A real file of the kernel's keeps nothing.
    assert!(node.read(CHECK).starts_with(&format!("{SHARED}\0")), "{}", node.read(CHECK));

    // A relabelling by the system, and another version of the host: a file that is replaced has the label of its directory.
    assert!(set(&node.here(SHIM), "system_u:object_r:bin_t:s0\0"));
    node.write(HOST, "an older version");
    fs::remove_dir_all(node.here(STATE)).expect("removed");
    node.install().expect("installed again");
    assert_eq!((label(&node, SHIM).as_deref(), label(&node, HOST).as_deref()), (Some(RUNTIME), Some(SHARED)));
    assert_eq!(label(&node, STATE).as_deref(), Some(SHARED), "before the shim makes it");
    assert_eq!(node.restarted(), 1, "labels need no restart");

    node.remove().expect("removed");
    assert!(!node.here(STATE).exists());
}

#[test]
fn a_policy_without_the_labels_gets_none() {
    let Some(node) = node() else { return };
    fs::remove_file(node.here(CHECK)).expect("removed");
    // Each write to it fails, as a write of an unknown label does.
    symlink("/dev/full", node.here(CHECK)).expect("a link");
    node.install().expect("installed");
    assert_eq!((label(&node, SHIM), label(&node, HOST)), (None, None));
}

#[test]
fn without_selinux_nothing_is_labelled_or_made() {
    let node = TestNode::with(&[(ETC, &fixture("containerd-1.7-kubeadm.toml"))]);
    node.install().expect("installed");
    assert_eq!((label(&node, SHIM), label(&node, HOST)), (None, None));
    assert!(!node.here(STATE).exists());
}
