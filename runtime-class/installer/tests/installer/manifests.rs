//! What the manifests promise, read as text: who has the token, which nodes take part, and what the program names.

use std::{fs, path::Path};

use wasi_http_installer::{
    lease::LEASE,
    runtime::{HANDLER, LABEL, PROBE_CLASS, STARTUP_TAINT},
};

fn manifest(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn only_the_init_container_has_the_token() {
    let daemon_set = manifest("deploy/daemonset.yaml");
    assert!(daemon_set.contains("\n      automountServiceAccountToken: false\n"), "{daemon_set}");
    let (init, rest) = daemon_set.split_once("\n      containers:\n").expect("containers");
    let (containers, volumes) = rest.split_once("\n      volumes:\n").expect("volumes");
    assert!(init.contains("- name: token\n") && volumes.contains("serviceAccountToken:"), "{daemon_set}");
    assert!(!containers.contains("volumeMounts"), "the container that stays mounts nothing: {containers}");
}

#[test]
fn nodes_of_a_control_plane_take_part_only_by_an_overlay() {
    let daemon_set = manifest("deploy/daemonset.yaml");
    for label in [
        "node-role.kubernetes.io/control-plane",
        "node-role.kubernetes.io/etcd",
        "node.kubernetes.io/microk8s-controlplane",
    ] {
        assert!(
            daemon_set.contains(&format!("- key: {label}\n                    operator: DoesNotExist")),
            "{label}"
        );
    }
    for overlay in ["deploy", "remove"] {
        let text = manifest(&format!("control-plane/{overlay}/kustomization.yaml"));
        for part in [format!("../../{overlay}\n"), "../../components/control-plane\n".to_owned()] {
            assert!(text.contains(&part), "{overlay}: {text}");
        }
    }
    let component = manifest("components/control-plane/kustomization.yaml");
    assert!(component.contains("/spec/template/spec/affinity/"), "{component}");
}

#[test]
fn nodes_of_both_architectures_take_part_and_no_others() {
    let component = "components/control-plane/kustomization.yaml";
    for file in ["deploy/daemonset.yaml", "deploy/watcher.yaml", component] {
        let text = manifest(file);
        let key = text.find("key: kubernetes.io/arch\n").unwrap_or_else(|| panic!("{file}: {text}"));
        let expression: Vec<&str> = text[key..].lines().take(3).map(str::trim).collect();
        assert_eq!(
            expression,
            ["key: kubernetes.io/arch", "operator: In", "values: [amd64, arm64]"],
            "{file}"
        );
        assert!(!text.contains("kubernetes.io/arch: "), "{file} selects one architecture: {text}");
    }
}

#[test]
fn the_admission_policies_are_not_moved_into_a_namespace() {
    let kustomization = manifest("deploy/kustomization.yaml");
    assert!(!kustomization.contains("\nnamespace:"), "{kustomization}");
    assert!(!manifest("deploy/admission.yaml").contains("namespace:"));
}

#[test]
fn the_component_for_image_policies_passes_the_mounted_directory() {
    let component = manifest("components/image-policy/kustomization.yaml");
    for part in [
        "name: INSTALLER_IMAGE_POLICY\n          value: /image-policy",
        "mountPath: /image-policy",
        "secretName: wasi-http-image-policy",
    ] {
        assert!(component.contains(part), "{part}: {component}");
    }
    // The patches add to the first init container, which has to be the installer.
    assert!(manifest("deploy/daemonset.yaml").contains("initContainers:\n        - name: install\n"));
}

#[test]
fn the_manifests_have_the_names_of_the_program() {
    let admission = manifest("deploy/admission.yaml");
    for name in [LABEL, STARTUP_TAINT, PROBE_CLASS] {
        assert!(admission.contains(name), "{name}");
    }
    let class = manifest("deploy/probe-class.yaml");
    assert!(class.contains(&format!("name: {PROBE_CLASS}\nhandler: {HANDLER}\n")), "{class}");
    assert!(!class.contains("scheduling"), "the probe pod runs before the node has the label: {class}");
    assert!(manifest("deploy/lease.yaml").contains(&format!("name: {LEASE}\n")));
    assert!(manifest("deploy/access.yaml").contains(&format!("resourceNames: [{LEASE}]")));
    let pool = manifest("../autoscaling/karpenter-nodepool.yaml");
    assert!(
        pool.contains(&format!("{LABEL}: \"true\"")) && pool.contains(&format!("key: {STARTUP_TAINT}\n"))
    );
    let rules = manifest("monitoring/prometheusrule.yaml");
    let series = wasi_http_installer::exporter::Figures::default().text();
    for name in rules
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("wasi_http_installer_"))
    {
        assert!(series.contains(&format!("\n{name} ")), "no series {name}");
    }
}
