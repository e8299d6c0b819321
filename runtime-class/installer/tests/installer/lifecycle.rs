//! Install, install again and remove, on each kind of node.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use toml_edit::DocumentMut;
use wasi_http_installer::error::Error;

use crate::nodes::{ETC, Files, K3S, MICROK8S, RKE2, TestNode, fixture};

const SHIM: &str = "/usr/local/bin/containerd-shim-wasi-http-v1";
const HOST: &str = "/usr/local/bin/wasi-http-host";

/// Installs, installs again and removes. Returns the node's files after the installation.
fn cycle(node: &TestNode) -> Files {
    let before = node.files();
    node.install().expect("installed");
    assert_eq!(node.restarted(), 1, "a change restarts containerd");
    let installed = node.files();
    assert_eq!(installed.get(SHIM).map(String::as_str), Some("containerd-shim-wasi-http-v1"));
    assert_eq!(installed.get(HOST).map(String::as_str), Some("wasi-http-host"));

    node.install().expect("installed again");
    assert_eq!(node.restarted(), 1, "no change, no restart");
    assert_eq!(node.files(), installed);

    node.remove().expect("removed");
    assert_eq!(node.restarted(), 2);
    assert_eq!(node.files(), before, "restored byte for byte");

    node.remove().expect("removed again");
    assert_eq!(node.restarted(), 2);
    installed
}

/// The keys of the runtime `wasi-http` in a configuration, and the configuration without this runtime.
fn split(text: &str, plugin: &str) -> (String, String) {
    let mut document: DocumentMut = text.parse().expect("TOML");
    let runtimes = document["plugins"][plugin]["containerd"]["runtimes"].as_table_mut().expect("runtimes");
    let ours = runtimes.remove("wasi-http").expect("our runtime");
    let keys = ours
        .as_table()
        .expect("a table")
        .iter()
        .map(|(key, item)| format!("{key}={}", item.to_string().trim()));
    (keys.collect::<Vec<_>>().join(";"), document.to_string())
}

const V2: &str = "io.containerd.grpc.v1.cri";
const V3: &str = "io.containerd.cri.v1.runtime";

#[test]
fn a_version_2_configuration_is_extended_in_place() {
    for (name, expected) in [
        ("containerd-1.6-default.toml", "runtime_type=\"io.containerd.wasi-http.v1\""),
        (
            "containerd-1.7-kubeadm.toml",
            "runtime_type=\"io.containerd.wasi-http.v1\";options=SystemdCgroup = true",
        ),
        (
            "kind-v2.toml",
            "runtime_type=\"io.containerd.wasi-http.v1\";base_runtime_spec=\"/etc/containerd/cri-base.json\";options=SystemdCgroup = true",
        ),
    ] {
        let original = fixture(name);
        let installed = cycle(&TestNode::with(&[(ETC, &original)]));
        let (ours, rest) = split(&installed[ETC], V2);
        assert_eq!(ours, expected, "{name}");
        assert_eq!(rest, original, "{name}: nothing else changed, comments and spaces included");
        assert_eq!(installed[&format!("{ETC}.before-wasi-http")], original, "{name}");
    }
}

#[test]
fn a_version_3_configuration_without_imports_is_extended_in_place() {
    for (name, expected) in [
        ("containerd-2.0-minimal.toml", "runtime_type=\"io.containerd.wasi-http.v1\""),
        (
            "containerd-2.1-kubeadm.toml",
            "runtime_type=\"io.containerd.wasi-http.v1\";base_runtime_spec=\"/etc/containerd/cri-base.json\";options=SystemdCgroup = true",
        ),
    ] {
        let original = fixture(name);
        let installed = cycle(&TestNode::with(&[(ETC, &original)]));
        let (ours, rest) = split(&installed[ETC], V3);
        assert_eq!(ours, expected, "{name}");
        assert_eq!(rest, original, "{name}");
    }
}

#[test]
fn a_version_3_configuration_that_imports_a_directory_is_not_changed() {
    let k3s = "/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.d/wasi-http.toml";
    for (name, config, drop_in, version) in [
        ("containerd-2.4-default.toml", ETC, "/etc/containerd/conf.d/wasi-http.toml", "version = 4"),
        ("k3s-v3-imports.toml", K3S, k3s, "version = 3"),
    ] {
        let original = fixture(name);
        let installed = cycle(&TestNode::with(&[(config, &original)]));
        assert_eq!(installed[config], original, "{name}");
        let (ours, rest) = split(&installed[drop_in], V3);
        assert!(ours.starts_with("runtime_type=\"io.containerd.wasi-http.v1\""), "{name}: {ours}");
        assert_eq!(ours.contains("SystemdCgroup = true"), config == K3S, "{name}: {ours}");
        assert!(rest.contains(version), "{name}: {rest}");
    }
}

#[test]
fn a_version_2_configuration_with_imports_is_still_extended_in_place() {
    // containerd 1.x would replace all settings of the plugin by those of the imported file.
    let original = format!("imports = [\"/etc/containerd/conf.d/*.toml\"]\n{}", fixture("kind-v2.toml"));
    let installed = cycle(&TestNode::with(&[(ETC, &original)]));
    assert_eq!(split(&installed[ETC], V2).1, original);
}

#[test]
fn k3s_gets_a_template_that_extends_its_own() {
    for (name, template, plugin) in
        [("k3s-v2.toml", "config.toml.tmpl", V2), ("k3s-v3.toml", "config-v3.toml.tmpl", V3)]
    {
        let generated = fixture(name);
        let installed = cycle(&TestNode::with(&[(K3S, &generated)]));
        assert_eq!(installed[K3S], generated, "{name}: k3s would overwrite a change");
        let text = &installed[&K3S.replace("config.toml", template)];
        let rest = text.strip_prefix("{{ template \"base\" . }}\n").expect("the base comes first");
        // The configuration that k3s generates from the template.
        let rendered = format!("{generated}{rest}");
        let (ours, _) = split(&rendered, plugin);
        assert_eq!(
            ours, "runtime_type=\"io.containerd.wasi-http.v1\";options=SystemdCgroup = true",
            "{name}"
        );
    }
}

#[test]
fn an_existing_template_keeps_its_content() {
    let template = RKE2.replace("config.toml", "config-v3.toml.tmpl");
    for own in [fixture("rke2-v3.tmpl"), fixture("rke2-v3.tmpl").trim_end().to_owned()] {
        let node =
            TestNode::with(&[(RKE2, &fixture("k3s-v3.toml").replace("k3s", "rke2")), (&template, &own)]);
        let installed = cycle(&node);
        assert!(installed[&template].starts_with(&own), "{}", installed[&template]);
        assert!(installed[&template].contains("runtimes.wasi-http]"), "{}", installed[&template]);
    }
}

#[test]
fn a_later_change_of_a_template_survives_the_removal() {
    let node = TestNode::with(&[(K3S, &fixture("k3s-v3.toml"))]);
    node.install().expect("installed");
    let template = K3S.replace("config.toml", "config-v3.toml.tmpl");
    let edited = format!("{}# after\n", node.read(&template));
    node.write(&template, &edited);
    node.remove().expect("removed");
    assert_eq!(node.read(&template), "{{ template \"base\" . }}\n# after\n");
}

#[test]
fn microk8s_keeps_its_placeholders() {
    let original = fixture("microk8s-template.toml");
    let node = TestNode::with(&[(MICROK8S, &original)]);
    let installed = cycle(&node);
    assert_eq!(split(&installed[MICROK8S], V3).1, original);
    assert_eq!(node.restarts.borrow()[0], "systemctl restart snap.microk8s.daemon-containerd.service");
}

#[test]
fn each_distribution_restarts_its_own_unit() {
    for (config, name, unit) in [
        (ETC, "containerd-2.1-kubeadm.toml", "containerd.service"),
        (K3S, "k3s-v3.toml", "k3s.service"),
        (RKE2, "k3s-v3.toml", "rke2-server.service"),
    ] {
        let node = TestNode::with(&[(config, &fixture(name))]);
        node.install().expect("installed");
        assert_eq!(*node.restarts.borrow(), [format!("systemctl restart {unit}")]);
    }
}

#[test]
fn containerd_on_its_defaults_gets_a_configuration_and_loses_it_again() {
    let node = TestNode::with(&[("/lib/systemd/system/containerd.service", "[Service]\n")]);
    let installed = cycle(&node);
    assert!(installed[ETC].contains("\nversion = 2\n"), "{}", installed[ETC]);
    split(&installed[ETC], V2);
}

#[test]
fn a_later_change_of_the_configuration_survives_the_removal() {
    let node = TestNode::with(&[(ETC, &fixture("containerd-2.1-kubeadm.toml"))]);
    node.install().expect("installed");
    let theirs = "\n[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.later]\nruntime_type = \"io.containerd.runc.v2\"\n";
    node.write(ETC, &format!("{}{theirs}", node.read(ETC)));
    node.remove().expect("removed");
    let left: DocumentMut = node.read(ETC).parse().expect("TOML");
    let runtimes = left["plugins"][V3]["containerd"]["runtimes"].as_table().expect("runtimes");
    assert_eq!(runtimes.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["runc", "test-handler", "later"]);
    assert!(!node.files().contains_key(&format!("{ETC}.before-wasi-http")));
}

#[test]
fn a_replaced_configuration_gets_the_runtime_again() {
    let node = TestNode::with(&[(ETC, &fixture("kind-v2.toml"))]);
    node.install().expect("installed");
    let upgraded = fixture("containerd-2.0-minimal.toml");
    node.write(ETC, &upgraded);
    node.install().expect("installed again");
    assert_eq!(node.restarted(), 2);
    split(&node.read(ETC), V3);
    node.remove().expect("removed");
    assert_eq!(node.read(ETC), upgraded);
}

#[test]
fn a_runtime_that_was_configured_by_hand_is_not_changed() {
    let by_hand = format!(
        "{}\n[plugins.\"{V3}\".containerd.runtimes.wasi-http]\n  runtime_type = \"io.containerd.wasi-http.v1\"  # mine\n",
        fixture("containerd-2.0-minimal.toml")
    );
    let node = TestNode::with(&[(ETC, &by_hand)]);
    node.install().expect("installed");
    assert_eq!(node.read(ETC), by_hand);
    assert_eq!(node.restarted(), 0);
}

#[test]
fn another_directory_of_the_programs_is_added_to_the_configuration() {
    let mut node = TestNode::with(&[(ETC, &fixture("containerd-2.1-kubeadm.toml"))]);
    node.bin_dir = "/opt/wasi-http/bin".into();
    node.install().expect("installed");
    let (ours, _) = split(&node.read(ETC), V3);
    assert!(ours.contains("runtime_path=\"/opt/wasi-http/bin/containerd-shim-wasi-http-v1\""), "{ours}");
    let shim = node.here("/opt/wasi-http/bin/containerd-shim-wasi-http-v1");
    assert_eq!(fs::metadata(shim).expect("the shim").permissions().mode() & 0o7777, 0o755);
}

#[test]
fn the_path_of_the_configuration_can_be_passed() {
    let original = fixture("containerd-2.0-minimal.toml");
    let mut node = TestNode::with(&[("/etc/k8s/containerd.toml", &original)]);
    node.process(
        "500",
        "/usr/bin/containerd -c /etc/k8s/containerd.toml",
        "/system.slice/containerd.service",
    );
    node.config = Some("/etc/k8s/containerd.toml".into());
    node.install().expect("installed");
    split(&node.read("/etc/k8s/containerd.toml"), V3);
    node.remove().expect("removed");
    assert_eq!(node.read("/etc/k8s/containerd.toml"), original);
}

#[test]
fn the_configuration_keeps_its_mode() {
    let node = TestNode::with(&[(ETC, &fixture("kind-v2.toml"))]);
    fs::set_permissions(node.here(ETC), fs::Permissions::from_mode(0o600)).expect("a mode");
    node.install().expect("installed");
    assert_eq!(fs::metadata(node.here(ETC)).expect("it").permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_new_shim_replaces_the_old_one_without_a_restart() {
    let node = TestNode::with(&[(ETC, &fixture("containerd-2.1-kubeadm.toml"))]);
    node.install().expect("installed");
    node.write(SHIM, "an older version");
    node.install().expect("installed again");
    assert_eq!(node.read(SHIM), "containerd-shim-wasi-http-v1");
    assert_eq!(node.restarted(), 1, "containerd starts a new shim process for each pod");
}

#[test]
fn the_configuration_is_restored_if_containerd_does_not_restart() {
    let original = fixture("kind-v2.toml");
    let node = TestNode::with(&[(ETC, &original)]);
    *node.failures.borrow_mut() = 1;
    assert!(matches!(node.install(), Err(Error::Command { .. })));
    assert_eq!(node.read(ETC), original);
    assert_eq!(node.restarted(), 2, "with the new configuration, and with the old one");
    assert_eq!(beside(&node), [ETC]);
}

/// The files in the configuration's directory.
fn beside(node: &TestNode) -> Vec<String> {
    node.files().into_keys().filter(|path| path.starts_with("/etc/containerd/")).collect()
}

#[test]
fn after_a_killed_run_the_next_run_restarts_containerd() {
    for (config, name) in [
        (ETC, "kind-v2.toml"),
        (ETC, "containerd-2.4-default.toml"),
        (MICROK8S, "microk8s-template.toml"),
        (K3S, "k3s-v3.toml"),
        (K3S, "k3s-v3-imports.toml"),
    ] {
        let node = TestNode::with(&[(config, &fixture(name))]);
        let before = node.files();
        node.killed(TestNode::install);
        let mut killed = node.files();
        assert!(killed.remove(&format!("{config}.pending-wasi-http")).is_some(), "{name}");

        node.install().expect("installed");
        assert_eq!(node.restarted(), 1, "{name}: containerd had not read the new configuration");
        assert_eq!(node.files(), killed, "{name}: only the marker is gone");
        node.install().expect("installed again");
        assert_eq!(node.restarted(), 1, "{name}");

        node.killed(TestNode::remove);
        node.remove().expect("removed");
        assert_eq!(node.restarted(), 2, "{name}");
        assert_eq!(node.files(), before, "{name}");
        node.remove().expect("removed again");
        assert_eq!(node.restarted(), 2, "{name}");
    }
}

#[test]
fn a_removal_undoes_a_killed_installation() {
    let node = TestNode::with(&[(ETC, &fixture("kind-v2.toml"))]);
    let before = node.files();
    node.killed(TestNode::install);
    node.remove().expect("removed");
    assert_eq!(node.restarted(), 1);
    assert_eq!(node.files(), before);
}

#[test]
fn a_killed_runs_configuration_is_restored_if_containerd_does_not_restart() {
    let original = fixture("kind-v2.toml");
    let node = TestNode::with(&[(ETC, &original)]);
    node.killed(TestNode::install);
    *node.failures.borrow_mut() = 1;
    assert!(matches!(node.install(), Err(Error::Command { .. })));
    assert_eq!(node.read(ETC), original);
    assert_eq!(node.restarted(), 2);
    assert_eq!(beside(&node), [ETC]);
}

#[test]
fn a_containerd_that_stays_down_is_restarted_by_the_next_run() {
    let original = fixture("kind-v2.toml");
    let node = TestNode::with(&[(ETC, &original)]);
    *node.failures.borrow_mut() = 2;
    assert!(matches!(node.install(), Err(Error::Command { .. })));
    assert_eq!(node.read(ETC), original);
    node.service("containerd.service", "failed");
    fs::remove_dir_all(node.proc().join("500")).expect("it has ended");
    node.remove().expect("removed");
    assert_eq!(node.restarted(), 3, "containerd was down, although the configuration needed no change");
    assert_eq!(beside(&node), [ETC]);
}

#[test]
fn the_marker_is_there_before_the_configuration_changes() {
    let original = fixture("kind-v2.toml");
    let node = TestNode::with(&[(ETC, &original)]);
    // A directory in place of the temporary file makes the write fail.
    let fresh = node.here("/etc/containerd/.config.toml.wasi-http");
    fs::create_dir(&fresh).expect("a directory");
    assert!(matches!(node.install(), Err(Error::File { .. })));
    assert_eq!(node.read(ETC), original);
    assert_eq!(beside(&node), [ETC.to_owned(), format!("{ETC}.pending-wasi-http")]);
    fs::remove_dir(fresh).expect("it goes");
    node.install().expect("installed");
    assert_eq!(node.restarted(), 1);
}

#[test]
fn a_shim_that_still_runs_is_not_removed() {
    let node = TestNode::with(&[(ETC, &fixture("containerd-2.1-kubeadm.toml"))]);
    node.install().expect("installed");
    let installed = node.files();
    let process = node.proc().join("4711");
    fs::create_dir(&process)
        .and_then(|()| fs::write(process.join("cmdline"), format!("{SHIM}\0-id\0x")))
        .expect("a process");
    assert!(matches!(node.remove(), Err(Error::InUse(1))));
    assert_eq!(node.files(), installed);
    fs::remove_dir_all(process).expect("it ends");
    node.remove().expect("removed");
}
