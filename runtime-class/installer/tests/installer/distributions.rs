//! The pages of docs/nodes: each names its fixture, and what the installer does with it is tried here.

use std::{collections::BTreeSet, fs, path::Path};

use crate::nodes::{ETC, K0S_GENERATED, K3S, MICROK8S, RKE2, TestNode, fixture};

/// A page, its fixture, where the fixture lies on a node, and the file that the installer changes; `None` if it refuses the node.
const PAGES: [(&str, &str, &str, Option<&str>); 13] = [
    ("aks", "aks-v2.toml", ETC, Some(ETC)),
    ("bottlerocket", "bottlerocket-os-release", "/usr/lib/os-release", None),
    ("eks-al2023", "eks-al2023-v3.toml", ETC, Some(ETC)),
    ("flatcar", "flatcar-v2.toml", "/usr/share/containerd/config.toml", None),
    ("gke-cos", "gke-cos-v2.toml", ETC, Some(ETC)),
    ("k0s", "k0s-cri-v2.toml", K0S_GENERATED, Some("/etc/k0s/containerd.d/wasi-http.toml")),
    (
        "k3s",
        "k3s-v3-imports.toml",
        K3S,
        Some("/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.d/wasi-http.toml"),
    ),
    ("kind", "kind-v2.toml", ETC, Some(ETC)),
    ("kubeadm", "containerd-2.1-kubeadm.toml", ETC, Some(ETC)),
    ("microk8s", "microk8s-template.toml", MICROK8S, Some(MICROK8S)),
    ("openshift", "openshift-crio.conf", "/etc/crio/crio.conf.d/00-default", None),
    ("rke2", "rke2-v3.toml", RKE2, Some("/var/lib/rancher/rke2/agent/etc/containerd/config-v3.toml.tmpl")),
    ("talos", "talos-os-release", "/usr/lib/os-release", None),
];

fn pages() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/nodes")
}

#[test]
fn each_distribution_has_a_page_that_names_its_fixture() {
    let listed = fs::read_dir(pages()).expect("docs/nodes").flatten();
    let names: BTreeSet<String> =
        listed.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    let mut expected: BTreeSet<String> = PAGES.map(|(page, ..)| format!("{page}.md")).into();
    expected.insert("README.md".to_owned());
    expected.insert("autoscaled.md".to_owned());
    assert_eq!(names, expected);
    for (page, fixture, ..) in PAGES {
        let text = fs::read_to_string(pages().join(format!("{page}.md"))).expect("a page");
        assert!(text.contains(&format!("tests/fixtures/{fixture})")), "{page}: names no fixture {fixture}");
        for part in ["| written |", "| reboot |", "| upgrade |", "| impossible |"] {
            assert!(text.contains(part), "{page}: no row {part:?}");
        }
    }
}

#[test]
fn the_installer_does_what_the_pages_say() {
    for (page, name, path, changed) in PAGES {
        let node = TestNode::bare(&[(path, &fixture(name))]);
        let (line, service) = match page {
            "k0s" => {
                node.write("/etc/k0s/containerd.toml", &fixture("k0s-managed.toml"));
                (
                    "/var/lib/k0s/bin/containerd --config=/etc/k0s/containerd.toml".to_owned(),
                    "k0sworker.service",
                )
            }
            "k3s" => (format!("containerd -c {K3S}"), "k3s-agent.service"),
            "rke2" => (format!("containerd -c {RKE2}"), "rke2-agent.service"),
            "microk8s" => (
                "/snap/microk8s/1/bin/containerd --config /var/snap/microk8s/1/args/containerd.toml"
                    .to_owned(),
                "snap.microk8s.daemon-containerd.service",
            ),
            "flatcar" => (format!("/usr/bin/containerd --config {path}"), "containerd.service"),
            _ => ("/usr/bin/containerd".to_owned(), "containerd.service"),
        };
        if page != "openshift" {
            node.service(service, "active");
            node.process("900", &line, &format!("/system.slice/{service}"));
        }
        let before = node.files();
        match changed {
            Some(changed) => {
                node.install().unwrap_or_else(|error| panic!("{page}: {error}"));
                assert!(node.read(changed).contains("runtimes.wasi-http]"), "{page}: {}", node.read(changed));
                assert_eq!(*node.restarts.borrow(), [format!("systemctl restart {service}")], "{page}");
                node.remove().unwrap_or_else(|error| panic!("{page}: {error}"));
                assert_eq!(node.files(), before, "{page}");
            }
            None => {
                let error = node.install().expect_err(page).to_string();
                let hint = if page == "flatcar" { "CONTAINERD_CONFIG" } else { "plain-container" };
                assert!(error.contains(hint), "{page}: {error}");
                assert_eq!(node.files(), before, "{page}");
                assert_eq!(node.restarted(), 0, "{page}");
            }
        }
    }
}

#[test]
fn a_directory_that_cannot_be_written_to_is_refused_before_anything_changes() {
    let mut node = TestNode::with(&[(ETC, &fixture("gke-cos-v2.toml")), ("/usr/local", "not a directory")]);
    let before = node.files();
    let error = node.install().expect_err("refused").to_string();
    assert!(error.contains("/usr/local/bin") && error.contains("--bin-dir"), "{error}");
    assert_eq!(node.files(), before);
    node.bin_dir = "/home/kubernetes/bin".into();
    node.install().expect("installed");
    assert!(node.read(ETC).contains("runtime_path = \"/home/kubernetes/bin/containerd-shim-wasi-http-v1\""));
}
