//! Nodes that the installer refuses: it reports a clear error and changes nothing.

use crate::nodes::{ETC, K3S, TestNode, fixture};

fn refused(node: &TestNode, expected: &[&str]) {
    let before = node.files();
    let error = node.install().expect_err("refused").to_string();
    for part in expected {
        assert!(error.contains(part), "{error:?} lacks {part:?}");
    }
    assert_eq!(node.files(), before, "{error}");
    assert_eq!(node.restarted(), 0);
}

#[test]
fn a_configuration_that_is_no_toml() {
    refused(&TestNode::with(&[(ETC, "version = 2\n[plugins\n")]), &[ETC, "not TOML"]);
}

#[test]
fn a_version_that_is_not_supported() {
    refused(&TestNode::with(&[(ETC, "version = 9\n")]), &[ETC, "version 9", "containerd config migrate"]);
    refused(&TestNode::with(&[(ETC, "version = \"two\"\n")]), &[ETC, "not a number"]);
}

#[test]
fn a_configuration_without_a_version_is_version_1() {
    refused(&TestNode::with(&[(ETC, "[plugins.cri]\n")]), &[ETC, "version 1", "containerd config migrate"]);
}

#[test]
fn containerd_without_kubernetes() {
    let off = format!("version = 2\n{}", fixture("docker-package.toml"));
    refused(&TestNode::with(&[(ETC, &off)]), &[ETC, "disabled_plugins", "\"cri\""]);
    let off = "version = 3\ndisabled_plugins = [\"io.containerd.cri.v1.runtime\"]\n";
    refused(&TestNode::with(&[(ETC, off)]), &[ETC, "disabled_plugins"]);
}

#[test]
fn another_runtime_with_the_name_wasi_http() {
    let taken = "version = 3\n[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.wasi-http]\nruntime_type = \"io.containerd.other.v1\"\n";
    refused(&TestNode::with(&[(ETC, taken)]), &[ETC, "io.containerd.other.v1"]);
}

#[test]
fn tables_that_cannot_be_extended() {
    let inline = "version = 3\n[plugins.\"io.containerd.cri.v1.runtime\"]\ncontainerd = { runtimes = {} }\n";
    refused(&TestNode::with(&[(ETC, inline)]), &[ETC, "in one line"]);
    let number = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\nruntimes = 1\n";
    refused(&TestNode::with(&[(ETC, number)]), &[ETC, "runtimes is not a table"]);
}

#[test]
fn a_symbolic_link_in_place_of_the_configuration() {
    let node = TestNode::with(&[("/opt/config.toml", "version = 2\n")]);
    std::fs::create_dir_all(node.here("/etc/containerd")).expect("a directory");
    std::os::unix::fs::symlink("../../opt/config.toml", node.here(ETC)).expect("a link");
    refused(&node, &[ETC, "not a regular file", "--config"]);
}

#[test]
fn a_file_that_is_too_large_for_a_configuration() {
    refused(&TestNode::with(&[(ETC, &"#".repeat((1 << 20) + 1))]), &[ETC, "bytes"]);
}

#[test]
fn a_node_without_containerd() {
    refused(&TestNode::bare(&[("/etc/hostname", "node\n")]), &["no containerd", ETC, K3S, "--config"]);
}

#[test]
fn a_k3s_that_was_never_started() {
    let mut node = TestNode::bare(&[("/etc/hostname", "node\n")]);
    node.service("k3s.service", "active");
    node.process("900", &format!("containerd -c {K3S}"), "/system.slice/k3s.service");
    node.config = Some(K3S.into());
    refused(&node, &[K3S, "start k3s once"]);
}
