//! Real containerds read the configuration that the installer writes. `make test-installer` runs this test if it finds
//! containerd programs. `INSTALLER_CONTAINERDS` holds their paths, separated by colons.

use std::{path::Path, process::Command};

use crate::nodes::{ETC, TestNode, fixture};

/// The effective configuration, with everything that the file imports (`containerd config dump`).
fn dump(containerd: &str, config: &Path) -> String {
    let output = Command::new(containerd)
        .arg("--config")
        .arg(config)
        .args(["config", "dump"])
        .output()
        .expect(containerd);
    assert!(output.status.success(), "{containerd}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The lines of a dump, without the list of imports and without the tables of the runtime `wasi-http`.
fn without_ours(dump: &str) -> Vec<&str> {
    let mut ours = false;
    let mut lines = Vec::new();
    for line in dump.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("imports")) {
        if line.trim_start().starts_with('[') {
            ours = line.contains("runtimes.wasi-http");
        }
        if !ours {
            lines.push(line);
        }
    }
    lines
}

#[test]
#[ignore = "needs containerd programs: make test-installer"]
fn containerd_knows_the_runtime_and_all_else_is_as_before() {
    let programs =
        std::env::var("INSTALLER_CONTAINERDS").expect("INSTALLER_CONTAINERDS names containerd programs");
    for containerd in programs.split(':') {
        let version = Command::new(containerd).arg("--version").output().expect(containerd).stdout;
        let version = String::from_utf8_lossy(&version).into_owned();
        let first = version.split_whitespace().filter_map(|word| word.trim_start_matches('v').chars().next());
        let two = first.into_iter().any(|digit| digit == '2');
        let mut names = vec![
            "aks-v2.toml",
            "containerd-1.6-default.toml",
            "containerd-1.7-kubeadm.toml",
            "flatcar-v2.toml",
            "gke-cos-v2.toml",
            "kind-v2.toml",
        ];
        if two {
            names.extend([
                "containerd-2.0-minimal.toml",
                "containerd-2.1-kubeadm.toml",
                "containerd-2.4-default.toml",
                "eks-al2023-v3.toml",
            ]);
        }
        for name in names {
            // An import is an absolute path. This containerd resolves it on the test machine, not on the node.
            let node = TestNode::with(&[]);
            let conf_d = node.here("/etc/containerd/conf.d");
            node.write(ETC, &fixture(name).replace("/etc/containerd/conf.d", &conf_d.display().to_string()));
            let before = dump(containerd, &node.here(ETC));
            node.install().expect("installed");
            if name == "containerd-2.4-default.toml" {
                // The installer took the path as one of the node. Move the file to where this containerd reads it.
                let drop_in = node.here(&format!("{}/wasi-http.toml", conf_d.display()));
                std::fs::create_dir_all(&conf_d)
                    .and_then(|()| std::fs::rename(drop_in, conf_d.join("wasi-http.toml")))
                    .expect("moved");
            }
            let after = dump(containerd, &node.here(ETC));
            assert!(after.contains("io.containerd.wasi-http.v1"), "{version} {name}\n{after}");
            assert_eq!(without_ours(&after), without_ours(&before), "{version} {name}");
            println!("{}: {name}", version.trim());
        }
    }
}
