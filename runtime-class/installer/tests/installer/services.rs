//! Which service the installer restarts, on nodes with several services and containerds.

use wasi_http_installer::error::Error;

use crate::nodes::{ETC, K0S_GENERATED, K3S, RKE2, TestNode, fixture};

const RKE2_UNITS: [(&str, &str); 2] = [
    ("/usr/local/lib/systemd/system/rke2-agent.service", "[Service]\nType=notify\n"),
    ("/usr/local/lib/systemd/system/rke2-server.service", "[Service]\nType=notify\n"),
];

fn restarted(node: &TestNode) -> Vec<String> {
    node.restarts.borrow().clone()
}

#[test]
fn of_both_units_of_rke2_only_the_active_one_is_restarted() {
    for (active, inactive) in
        [("rke2-server.service", "rke2-agent.service"), ("rke2-agent.service", "rke2-server.service")]
    {
        let node = TestNode::bare(&RKE2_UNITS);
        node.write(RKE2, &fixture("k3s-v3.toml").replace("k3s", "rke2"));
        node.service(active, "active");
        node.service(inactive, "inactive");
        node.process("900", &format!("containerd -c {RKE2}"), &format!("/system.slice/{active}"));
        node.install().expect("installed");
        assert_eq!(restarted(&node), [format!("systemctl restart {active}")]);
    }
}

#[test]
fn an_error_says_that_no_containerd_runs() {
    let node = TestNode::bare(&RKE2_UNITS);
    node.write(RKE2, &fixture("k3s-v3.toml").replace("k3s", "rke2"));
    let before = node.files();
    let error = node.install().expect_err("refused");
    assert!(matches!(&error, Error::NotRunning(path) if path.ends_with("containerd/config.toml")), "{error}");
    assert!(error.to_string().contains("--restart"), "{error}");
    assert_eq!(node.files(), before);
    assert!(restarted(&node).is_empty());
}

#[test]
fn a_service_that_is_not_active_is_left_alone() {
    let node = TestNode::with(&[(ETC, &fixture("containerd-2.1-kubeadm.toml"))]);
    node.service("containerd.service", "activating");
    let before = node.files();
    let error = node.install().expect_err("refused").to_string();
    assert!(error.contains("containerd.service is activating instead of active"), "{error}");
    assert_eq!(node.files(), before);
}

#[test]
fn dockers_containerd_beside_that_of_k3s_is_left_alone() {
    let node = TestNode::bare(&[(ETC, &fixture("docker-package.toml")), (K3S, &fixture("k3s-v3.toml"))]);
    node.service("containerd.service", "active");
    node.service("k3s.service", "active");
    node.process("800", "/usr/bin/containerd", "/system.slice/containerd.service");
    node.process("900", &format!("containerd -c {K3S}"), "/system.slice/k3s.service");
    node.install().expect("installed");
    assert_eq!(restarted(&node), ["systemctl restart k3s.service"]);
    assert_eq!(node.read(ETC), fixture("docker-package.toml"));
}

#[test]
fn dockers_containerd_beside_another_is_left_alone() {
    let kubernetes = "/etc/kubernetes/containerd.toml";
    let node = TestNode::bare(&[
        (ETC, &format!("version = 2\n{}", fixture("docker-package.toml"))),
        (kubernetes, &fixture("containerd-2.1-kubeadm.toml")),
    ]);
    node.service("containerd.service", "active");
    node.service("kube-containerd.service", "active");
    node.process("800", "/usr/bin/containerd", "/system.slice/containerd.service");
    let line = format!("/usr/bin/containerd -a /run/kube.sock --config={kubernetes}");
    node.process("900", &line, "/system.slice/kube-containerd.service");
    // Started by dockerd itself, in a container of a pod.
    node.process("950", "containerd --config /var/run/docker/containerd/containerd.toml", "/kubepods/pod1/x");
    node.install().expect("installed");
    assert_eq!(restarted(&node), ["systemctl restart kube-containerd.service"]);
    assert!(node.read(kubernetes).contains("runtimes.wasi-http]"));
}

#[test]
fn two_containerds_that_kubernetes_could_use_are_ambiguous() {
    let mut node = TestNode::bare(&[
        (ETC, &fixture("containerd-2.1-kubeadm.toml")),
        ("/etc/second.toml", &fixture("containerd-2.0-minimal.toml")),
    ]);
    for service in ["containerd.service", "second.service"] {
        node.service(service, "active");
    }
    node.process("800", "/usr/bin/containerd", "/system.slice/containerd.service");
    node.process("900", "/usr/bin/containerd -c /etc/second.toml", "/system.slice/second.service");
    let before = node.files();
    let error = node.install().expect_err("refused").to_string();
    for part in
        ["second.service with /etc/second.toml", "containerd.service with /etc/containerd", "--config"]
    {
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(node.files(), before);

    node.config = Some("/etc/second.toml".into());
    node.install().expect("installed");
    assert_eq!(restarted(&node), ["systemctl restart second.service"]);
}

#[test]
fn the_files_of_a_k3s_that_was_removed_are_not_the_configuration() {
    let node =
        TestNode::bare(&[(K3S, &fixture("k3s-v3.toml")), (ETC, &fixture("containerd-2.1-kubeadm.toml"))]);
    node.service("containerd.service", "active");
    node.process("800", "/usr/bin/containerd", "/system.slice/containerd.service");
    node.install().expect("installed");
    assert_eq!(restarted(&node), ["systemctl restart containerd.service"]);
    assert!(node.read(ETC).contains("runtimes.wasi-http]"));
}

#[test]
fn a_k3s_with_its_data_elsewhere_is_found_by_its_command_line() {
    let config = "/data/k3s/agent/etc/containerd/config.toml";
    let node = TestNode::bare(&[(config, &fixture("k3s-v3.toml"))]);
    node.service("k3s-agent.service", "active");
    node.process("900", &format!("containerd -c {config}"), "/system.slice/k3s-agent.service");
    node.install().expect("installed");
    assert_eq!(restarted(&node), ["systemctl restart k3s-agent.service"]);
    assert!(node.read("/data/k3s/agent/etc/containerd/config-v3.toml.tmpl").contains("runtimes.wasi-http]"));
}

#[test]
fn flatcars_own_configuration_is_refused_and_its_copy_is_taken() {
    let own = "/usr/share/containerd/config.toml";
    let node = TestNode::bare(&[(own, &fixture("flatcar-v2.toml"))]);
    node.service("containerd.service", "active");
    node.process("800", &format!("/usr/bin/containerd --config {own}"), "/system.slice/containerd.service");
    let before = node.files();
    let error = node.install().expect_err("refused").to_string();
    assert!(
        error.contains(own) && error.contains("CONTAINERD_CONFIG=/etc/containerd/config.toml"),
        "{error}"
    );
    assert_eq!(node.files(), before);

    node.write(ETC, &fixture("flatcar-v2.toml"));
    node.process("800", &format!("/usr/bin/containerd --config {ETC}"), "/system.slice/containerd.service");
    node.install().expect("installed");
    assert_eq!(node.read(own), fixture("flatcar-v2.toml"));
    assert!(node.read(ETC).contains("runtimes.wasi-http]"));
}

#[test]
fn k0s_merges_a_drop_in_and_its_worker_is_restarted() {
    let managed = fixture("k0s-managed.toml");
    let node = TestNode::bare(&[
        ("/etc/k0s/containerd.toml", &managed),
        (K0S_GENERATED, &fixture("k0s-cri-v2.toml")),
    ]);
    let before = node.files();
    node.service("k0sworker.service", "active");
    let line = "/var/lib/k0s/bin/containerd --root=/var/lib/k0s/containerd --config=/etc/k0s/containerd.toml";
    node.process("900", line, "/system.slice/k0sworker.service");
    node.install().expect("installed");
    assert_eq!(restarted(&node), ["systemctl restart k0sworker.service"]);
    assert_eq!(node.read("/etc/k0s/containerd.toml"), managed);
    let drop_in = node.read("/etc/k0s/containerd.d/wasi-http.toml");
    assert!(drop_in.contains("version = 2\n"), "{drop_in}");
    assert!(
        drop_in.contains("[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.wasi-http]"),
        "{drop_in}"
    );
    node.install().expect("installed again");
    node.remove().expect("removed");
    assert_eq!(restarted(&node).len(), 2);
    assert_eq!(node.files(), before);
}

#[test]
fn a_k0s_configuration_that_somebody_took_over_is_a_file_like_any_other() {
    let own = "/etc/k0s/containerd.toml";
    let node = TestNode::bare(&[(own, &fixture("containerd-2.1-kubeadm.toml"))]);
    node.service("k0sworker.service", "active");
    node.process(
        "900",
        &format!("/var/lib/k0s/bin/containerd --config={own}"),
        "/system.slice/k0sworker.service",
    );
    node.install().expect("installed");
    assert!(node.read(own).contains("runtimes.wasi-http]"));
}
