//! The verification of images: what is written to a node, and which nodes are refused.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use tempfile::TempDir;

use crate::nodes::{ETC, K3S, TestNode, fixture};

const POLICY: &str = "/etc/wasi-http-image-policy/policy.toml";
const LINK: &str = "/opt/containerd/image-verifier/bin/wasi-http-image-verifier";
const PROGRAM: &str = "/usr/local/bin/wasi-http-image-verifier";

/// A policy's directory with one key.
fn policy() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let key = rcgen::KeyPair::generate().expect("a key").public_key_pem();
    write(&directory, "release.pub", &key);
    write(&directory, "login.json", r#"{"auths":{"example.com":{"username":"node","password":"secret"}}}"#);
    write(
        &directory,
        "policy.toml",
        "unlisted = \"allow\"\n[[image]]\nrepository = \"example.com/gists\"\nkeys = [\"release.pub\"]\n\
         [[registry]]\nhost = \"example.com\"\nlogin = \"login.json\"\n",
    );
    directory
}

fn write(directory: &TempDir, name: &str, content: &str) {
    fs::write(directory.path().join(name), content).expect("a file");
}

/// A node with this configuration that is to verify images by the policy.
fn node(config: &str, fixture: &str, policy: &TempDir) -> TestNode {
    let mut node = TestNode::with(&[(config, fixture)]);
    node.image_policy = Some(policy.path().to_owned());
    node
}

#[test]
fn a_policy_is_written_before_the_link_and_removed_after_it() {
    for (config, name) in
        [(ETC, "containerd-2.4-default.toml"), (ETC, "containerd-2.0-minimal.toml"), (K3S, "k3s-v3.toml")]
    {
        let policy = policy();
        let node = node(config, &fixture(name), &policy);
        let before = node.files();
        node.install().expect("installed");
        assert_eq!(fs::read_link(node.here(LINK)).expect("a link"), Path::new(PROGRAM), "{name}");
        assert_eq!(node.read(PROGRAM), "wasi-http-image-verifier", "{name}");
        for file in ["policy.toml", "release.pub", "login.json"] {
            let path = format!("/etc/wasi-http-image-policy/{file}");
            let mode = fs::metadata(node.here(&path)).expect("a file").permissions().mode();
            assert_eq!(mode & 0o7777, 0o600, "{name} {file}");
        }
        assert_eq!(node.restarted(), 1, "{name}: for the runtime alone");
        // What lies beside the link would be a verifier, too.
        assert_eq!(fs::read_dir(node.here(LINK).parent().expect("it")).expect("it").count(), 1, "{name}");

        // A later policy replaces all files, and needs no restart.
        write(&policy, "policy.toml", "unlisted = \"refuse\"\n");
        node.install().expect("installed again");
        assert_eq!(node.read(POLICY), "unlisted = \"refuse\"\n", "{name}");
        assert!(
            !node.here("/etc/wasi-http-image-policy/login.json").exists(),
            "{name}: a login that nothing uses"
        );
        assert_eq!(node.restarted(), 1, "{name}");

        node.remove().expect("removed");
        assert!(fs::symlink_metadata(node.here(LINK)).is_err(), "{name}");
        assert_eq!(node.files(), before, "{name}");
    }
}

#[test]
fn a_node_goes_on_verifying_when_no_policy_is_passed() {
    let policy = policy();
    let mut node = node(ETC, &fixture("containerd-2.4-default.toml"), &policy);
    node.install().expect("installed");
    let before = node.files();
    node.image_policy = None;
    node.install().expect("installed again");
    assert_eq!(node.files(), before);
    assert!(fs::symlink_metadata(node.here(LINK)).is_ok());
}

#[test]
fn the_directory_of_the_configuration_is_used() {
    let policy = policy();
    let own = "[plugins.\"io.containerd.image-verifier.v1.bindir\"]\nbin_dir = \"/etc/verifiers\"\n";
    let node = node(ETC, &format!("{}{own}", fixture("containerd-2.0-minimal.toml")), &policy);
    node.install().expect("installed");
    assert_eq!(
        fs::read_link(node.here("/etc/verifiers/wasi-http-image-verifier")).expect("a link"),
        Path::new(PROGRAM)
    );
    node.remove().expect("removed");
    assert!(fs::symlink_metadata(node.here("/etc/verifiers/wasi-http-image-verifier")).is_err());
}

#[test]
fn a_containerd_that_would_pull_without_verifying_is_refused_before_anything_changes() {
    let base = fixture("containerd-2.0-minimal.toml");
    let images = |key: &str| format!("{base}[plugins.\"io.containerd.cri.v1.images\"]\n{key}\n");
    let registry =
        |table: &str| format!("{base}[plugins.\"io.containerd.cri.v1.images\".registry.{table}]\nx = {{}}\n");
    for (config, reason) in [
        (fixture("kind-v2.toml"), "need containerd 2.1"),
        (fixture("containerd-2.1-kubeadm.toml"), "key discard_unpacked_layers"),
        (fixture("eks-al2023-v3.toml"), "key discard_unpacked_layers"),
        (
            format!("disabled_plugins = [\"io.containerd.image-verifier.v1.bindir\"]\n{base}"),
            "run no image verifier",
        ),
        (images("use_local_image_pull = true"), "key use_local_image_pull"),
        (images("disable_snapshot_annotations = false"), "key disable_snapshot_annotations"),
        (images("discard_unpacked_layers = true"), "key discard_unpacked_layers"),
        (images("image_pull_with_sync_fs = true"), "key image_pull_with_sync_fs"),
        (images("max_concurrent_downloads = 5"), "key max_concurrent_downloads"),
        (registry("mirrors"), "key mirrors"),
        (registry("configs"), "key configs"),
        (registry("auths"), "key auths"),
    ] {
        let policy = policy();
        let node = node(ETC, &config, &policy);
        let before = node.files();
        let error = node.install().expect_err(reason).to_string();
        assert!(error.contains(reason) && error.contains(ETC), "{error}");
        assert_eq!(node.files(), before, "{reason}");
        assert_eq!(node.restarted(), 0, "{reason}");
    }
}

#[test]
fn a_wrong_policy_is_refused_before_anything_changes() {
    let policy = policy();
    write(&policy, "release.pub", "no key");
    let node = node(ETC, &fixture("containerd-2.4-default.toml"), &policy);
    let before = node.files();
    let error = node.install().expect_err("refused").to_string();
    assert!(error.contains("release.pub: expected one PUBLIC KEY"), "{error}");
    assert_eq!(node.files(), before);
    assert_eq!(node.restarted(), 0);
}

#[test]
fn a_directory_of_verifiers_that_cannot_be_written_to_is_refused_before_anything_changes() {
    let policy = policy();
    let node = node(ETC, &fixture("containerd-2.4-default.toml"), &policy);
    node.write("/opt/containerd", "not a directory");
    let before = node.files();
    let error = node.install().expect_err("refused").to_string();
    assert!(error.contains("/opt/containerd/image-verifier/bin") && error.contains("`bin_dir`"), "{error}");
    assert_eq!(node.files(), before);
    assert_eq!(node.restarted(), 0);
}
